"""What only a machine can suffer; afterwards, without a hand, all is as asked for and nothing contradicts anything."""

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from etcdcompute import operations
from etcdcompute.errors import EtcdComputeError, NotFound
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Remove, Write
from etcdcompute.model import Instance, Phase
from etcdcompute.operations.specs import build_instance
from tests.faults.conftest import Machines
from tests.lab.cloud import STATE, Cloud, Node, wait_for
from tests.lab.instances import Instances

LOSS = "30%"
# Beside our documents: nothing of ours reads it.
FILL = "/faults/fill/"


class Churn:
    """Creates and deletes instances in a thread of its own, and keeps what was acknowledged."""

    def __init__(self, cloud: Cloud, instances: Instances) -> None:
        self._instances = instances
        # A client of its own: a thread's time-outs are not the test's.
        self._kv = Client(cloud.endpoints, request_timeout_s=20)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="churn")
        self.created: dict[str, Instance] = {}
        self.deleted: set[str] = set()
        self.unknown: set[str] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator["Churn"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self._kv.close()

    def _run(self) -> None:
        # Few, for each is a guest on emulated processors; every second one goes again.
        for number in range(6):
            if self._stop.is_set():
                return
            instance = build_instance(self._instances.spec(), source="churn")
            self._instances.adopt(instance)
            try:
                operations.create_instance(self._kv, instance)
                self.created[instance.uuid] = instance
                if number % 2:
                    operations.delete_instance(self._kv, instance.uuid)
                    self.deleted.add(instance.uuid)
            except EtcdComputeError:
                self.unknown.add(instance.uuid)
            self._stop.wait(5)

    def expect_as_asked(self, cloud: Cloud) -> None:
        """Hold what is there against what was acknowledged."""
        for uuid, instance in self.created.items():
            if uuid in self.deleted:
                operations.wait_until_gone(cloud.kv, uuid, name=instance.name, timeout_s=1200)
            elif uuid not in self.unknown:
                operations.wait_until_settled(cloud.kv, instance, timeout_s=1200)
        cloud.expect_consistent()
        running = cloud.running_domains()
        for uuid in self.created.keys() - self.deleted - self.unknown:
            assert uuid in running, f"{uuid} was acknowledged and does not run"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_power_cut_while_instances_come_and_go(
    cloud: Cloud, instances: Instances, machines: Machines, number: int
) -> None:
    node = list(cloud.nodes.values())[number]
    instances.create_running()
    with Churn(cloud, instances).running() as churn:
        wait_for("the first to be created", lambda: churn.created, 60)
        machines.cut_power(node)
        machines.await_down(node)
        machines.start(node)
    machines.await_up()
    churn.expect_as_asked(cloud)


def test_a_member_that_lost_its_disk_is_replaced_by_the_playbook(
    cloud: Cloud, instances: Instances, machines: Machines
) -> None:
    if len(cloud.controllers) < 3:
        pytest.fail("an etcd of one member has nothing to be restored from: make the lab with --controllers 3")
    kept = instances.create_running()
    node = cloud.controllers[-1]
    node.run("systemctl kill --signal=KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd/*")
    machines.replay_site()
    member = "etcdctl --endpoints=http://127.0.0.1:2379"
    wait_for("the member to answer", lambda: node.succeeds(f"ETCDCTL_API=3 {member} endpoint health"), 60)
    members = node.run(f"ETCDCTL_API=3 {member} member list")
    assert len(members.splitlines()) == len(cloud.controllers), members
    instances.await_settled(kept)
    cloud.expect_consistent()


@contextlib.contextmanager
def full_disk(node: Node, *, leave_mib: int) -> Iterator[None]:
    """Fill the node's disk but for so much; free it again."""
    fill = "/var/tmp/fill"
    node.run(
        f"free=$(df --output=avail -m / | tail -n 1); fallocate -l $((free - {leave_mib}))M {fill} && sync",
        timeout_s=120,
    )
    try:
        yield
    finally:
        node.run(f"rm -f {fill} && sync")


def test_the_disk_fills_while_an_image_is_fetched(cloud: Cloud, instances: Instances, machines: Machines) -> None:
    node = cloud.computes[-1]
    # Not below /var/tmp: the agent has one of its own.
    image = "/srv/other.qcow2"
    # A file with a few bytes more is another image; qcow2 ignores what comes after its end.
    node.run(f"cat /srv/images/etcdcompute-guest.qcow2 > {image} && head -c 4096 /dev/zero >> {image}")
    digest = node.run(f"sha256sum {image}").split()[0]
    assert digest != hashlib.sha256(b"").hexdigest()
    try:
        with cloud.only(node):
            with full_disk(node, leave_mib=10):
                instance = instances.create(image={"url": image, "sha256": digest})

                def says_so() -> bool:
                    status = instances.status(instance)
                    return status is not None and "space" in status.message

                wait_for("the status to name the full disk", says_so, 120)
                machines.await_message(node, "of the disk with /var/lib/etcdcompute are free")
            # Not "settled": the error that it has stays until the next attempt, which may be minutes away.
            instances.await_status(instance, Phase.RUNNING)
        machines.await_message(node, "")
        cloud.expect_consistent()
        assert instance.uuid in cloud.running_domains()
    finally:
        node.run(f"rm -f {image} {STATE}/images/*.part")


def test_the_disk_fills_while_etcd_writes(cloud: Cloud, instances: Instances, machines: Machines) -> None:
    node = cloud.controllers[-1]
    before = instances.create_running()
    starts = _starts(node)
    acknowledged: list[Instance] = []
    try:
        with full_disk(node, leave_mib=4):
            wait_for("etcd on the full disk to end", partial(_write_until, cloud, lambda: _starts(node) != starts), 120)
            # The other members have the majority: what they acknowledge must be kept.
            wait_for("two creates to be acknowledged", partial(_create_two, cloud, instances, acknowledged), 120)
            machines.await_message(node, "of the disk with /var/lib/etcdcompute are free")
    finally:
        for item in cloud.kv.read_prefix(FILL).items:
            cloud.kv.commit([], [Remove(item.key)])
    member = "ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 endpoint health"
    wait_for("the member to answer again", partial(node.succeeds, member), 120)
    cloud.await_daemons()
    for instance in (before, *acknowledged):
        instances.await_status(instance, Phase.RUNNING)
    cloud.expect_consistent()
    assert {before.uuid, *(instance.uuid for instance in acknowledged)} <= cloud.running_domains()
    machines.await_message(node, "")


def _starts(node: Node) -> str:
    """Return what changes when etcd has ended on a node."""
    return node.run("systemctl show --property=NRestarts,MainPID etcd")


def _write_until(cloud: Cloud, done: Callable[[], bool]) -> bool:
    """Write a quarter of a MiB; return whether it is done."""
    with contextlib.suppress(EtcdComputeError):
        cloud.kv.commit([], [Write(f"{FILL}{time.monotonic_ns()}", random.randbytes(2**18))])
    return done()


def _create_two(cloud: Cloud, instances: Instances, acknowledged: list[Instance]) -> bool:
    instance = build_instance(instances.spec(), source="test")
    instances.adopt(instance)
    with contextlib.suppress(EtcdComputeError):
        operations.create_instance(cloud.kv, instance)
        acknowledged.append(instance)
    return len(acknowledged) == 2


@pytest.mark.parametrize("shift", ["+1 hour", "-1 hour"])
@pytest.mark.parametrize("role", ["controller", "compute"])
def test_the_clock_jumps_and_comes_back(
    cloud: Cloud, instances: Instances, machines: Machines, role: str, shift: str
) -> None:
    node = cloud.controllers[0] if role == "controller" else cloud.computes[-1]
    before = instances.create_running()
    back = "-1 hour" if shift.startswith("+") else "+1 hour"
    node.run(f"date --set='{shift}'")
    try:
        during = instances.create_running()
        machines.await_up()
        # By the hour: this node's agent sees placement's clocks elsewhere, or the others' agents the one here.
        machines.await_some_message("about 60 minutes")
    finally:
        node.run(f"date --set='{back}'")
    after = instances.create_running()
    instances.delete(during)
    instances.await_gone(during)
    machines.await_up()
    for each in cloud.computes:
        machines.await_message(each, "")
    cloud.expect_consistent()
    assert {before.uuid, after.uuid} <= cloud.running_domains()


def test_a_third_of_the_packets_is_lost(cloud: Cloud, instances: Instances, machines: Machines) -> None:
    # Each node drops a share of what it sends; a timer of the node's own ends that, for SSH suffers too.
    for node in cloud.nodes.values():
        node.run(
            "modprobe sch_netem; systemd-run --quiet --on-active=240 tc qdisc del dev eth0 root && "
            f"tc qdisc add dev eth0 root netem loss {LOSS}"
        )
    with Churn(cloud, instances).running() as churn:
        wait_for("all nodes to be whole again", partial(_whole, cloud), 120)
    assert churn.created, "nothing was acknowledged in all that time"
    machines.await_up()
    churn.expect_as_asked(cloud)


def _whole(cloud: Cloud) -> bool:
    return not any(node.succeeds("tc qdisc show dev eth0 | grep -q netem") for node in cloud.nodes.values())


def test_a_node_that_was_cut_off_returns_after_its_lease_is_gone(
    cloud: Cloud, instances: Instances, machines: Machines
) -> None:
    node = cloud.computes[-1]
    with cloud.only(node):
        kept, deleted = instances.create_running(), instances.create_running()
    machines.unplug(node)
    try:
        machines.await_down(node)
        instances.delete(deleted)
        elsewhere = instances.create_running()
        assert instances.node(elsewhere) is not node
    finally:
        machines.plug(node)
    machines.await_up()
    instances.await_gone(deleted)
    with contextlib.suppress(NotFound):
        instances.await_settled(kept)
    cloud.expect_consistent()
    assert {kept.uuid, elsewhere.uuid} <= cloud.running_domains()
    assert deleted.uuid not in cloud.running_domains()
