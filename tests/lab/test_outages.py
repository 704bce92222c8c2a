"""What is asked for while something is away is carried out when it is back."""

from etcdcompute import operations
from etcdcompute.model import Phase, PowerState, keys
from tests.lab.cloud import Cloud, wait_for
from tests.lab.instances import Instances


def test_a_request_put_while_the_agent_is_down_is_carried_out(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create_running()
    node = instances.node(instance)
    node.run("systemctl stop etcdcompute-agent")
    try:
        stopped = instances.set_power_state(instance, PowerState.STOPPED)
        others = [each for each in cloud.computes if each is not node]
        for other in others:
            other.run("systemctl stop etcdcompute-agent")
        created = instances.create()
        assert instances.await_status(created, Phase.PENDING, "no_host").message
    finally:
        for each in cloud.computes:
            each.run("systemctl start etcdcompute-agent")
    instances.await_settled(stopped)
    instances.await_settled(created)
    assert instance.uuid not in cloud.running_domains()
    assert created.uuid in cloud.running_domains()


def test_a_host_reboot_brings_its_instances_back(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create_running(ssh_keys=[cloud.public_key])
    stopped = instances.create_running(power_state="stopped")
    node = instances.node(instance)
    before = node.run("stat -c %Y /proc/1; cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestamp")
    node.try_run("systemctl reboot")

    def back() -> bool:
        after = node.try_run(
            "stat -c %Y /proc/1; cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestamp"
        )
        return after.returncode == 0 and after.stdout != before

    wait_for(f"{node.name} to be back", back, 180)
    cloud.await_daemons()
    wait_for("its domain to run again", lambda: instance.uuid in cloud.running_domains(), 120)
    instances.await_settled(instance)
    cloud.expect_consistent()
    assert stopped.uuid not in cloud.running_domains()
    address = instances.await_address(instance)

    def answers() -> bool:
        return node.run_in_guest(address, "hostname").stdout.strip() == instance.name

    wait_for("the guest to answer under its own name", answers, 300)


def test_a_domain_that_is_killed_comes_back(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create_running()
    node = instances.node(instance)
    node.run(f"virsh destroy {instance.uuid}")
    wait_for("the domain to run again", lambda: instance.uuid in cloud.running_domains(), 60)
    instances.await_settled(instance)


def test_a_host_that_is_down_is_shown_and_gets_no_instances(cloud: Cloud, instances: Instances) -> None:
    node = cloud.computes[-1]
    uuid = cloud.host_uuids()[node.name]
    node.run("systemctl kill --signal=KILL etcdcompute-agent; systemctl stop etcdcompute-agent")
    try:
        wait_for(f"{node.name} to be seen as down", lambda: cloud.kv.get(keys.alive(uuid)) is None, 60)
        rows = {row.name: row.state for row in operations.list_hosts(cloud.kv)}
        assert "down" in rows[node.name]
        placed = [instances.create_running() for _ in range(3)]
        assert node.name not in {instances.node(instance).name for instance in placed}
    finally:
        node.run("systemctl start etcdcompute-agent")
    wait_for(f"{node.name} to be up", lambda: cloud.kv.get(keys.alive(uuid)), 60)
