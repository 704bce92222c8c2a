"""Killed at each step, or with libvirtd, etcd or the host gone: in the end it is as if nothing had happened."""

import pytest

from etcdcompute.agent.plan import CREATE_STEPS, DELETE_STEPS
from etcdcompute.kv.records import Write
from etcdcompute.model import ImageSource, keys
from tests.functional.agent.guests import GREETING
from tests.functional.agent.host import ComputeHost, wait_until
from tests.functional.agent.libvirt_server import LibvirtServer
from tests.functional.etcd_server import EtcdServer


@pytest.mark.parametrize("step", CREATE_STEPS)
def test_killed_behind_a_step_of_a_create(host: ComputeHost, image: ImageSource, step: str) -> None:
    host.arm(f"agent.{step}")
    instance = host.create(image)
    host.wait_agent_killed()
    host.start_agent()
    host.wait_status(instance.uuid, "running")
    host.assert_runs_once(instance)
    host.delete(instance)
    host.wait_gone(instance)


@pytest.mark.parametrize("step", DELETE_STEPS)
def test_killed_behind_a_step_of_a_delete(host: ComputeHost, image: ImageSource, step: str) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    host.arm(f"agent.{step}")
    host.delete(instance)
    host.wait_agent_killed()
    host.start_agent()
    host.wait_gone(instance)


def test_deleted_during_the_build(host: ComputeHost, image: ImageSource) -> None:
    host.arm("agent.disk_created", "hold")
    instance = host.create(image)
    held = host.failpoints / "agent.disk_created.held"
    wait_until(held.exists, "the agent is held")
    host.delete(instance)
    held.unlink()
    host.wait_gone(instance)


def test_libvirtd_crashes(host: ComputeHost, image: ImageSource, libvirtd: LibvirtServer) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    libvirtd.kill()
    another = host.create(image)
    wait_until(lambda: "COMPUTE_STATUS_DISABLED" in host.placement.get_traits(host.uuid).traits, "the host is disabled")
    libvirtd.start()
    host.wait_status(another.uuid, "running")
    host.assert_runs_once(instance)
    wait_until(
        lambda: "COMPUTE_STATUS_DISABLED" not in host.placement.get_traits(host.uuid).traits, "the host is enabled"
    )
    assert host.log.read_text().count("libvirt is not available") == 1


def test_libvirtd_hangs(host: ComputeHost, image: ImageSource, libvirtd: LibvirtServer) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    libvirtd.freeze()
    try:
        another = host.create(image)
        wait_until(
            lambda: "COMPUTE_STATUS_DISABLED" in host.placement.get_traits(host.uuid).traits, "the host is disabled"
        )
        assert host.store.get(keys.alive(host.uuid)) is not None
    finally:
        libvirtd.thaw()
    host.wait_status(another.uuid, "running")
    host.assert_runs_once(instance)


def test_the_host_reboots(host: ComputeHost, image: ImageSource, libvirtd: LibvirtServer) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    wait_until(lambda: GREETING in host.console(instance), "the guest is up")
    host.kill_agent()
    libvirtd.shut_down_host()
    libvirtd.boot()
    assert host.domains() == {instance.uuid: False}
    host.start_agent()
    wait_until(lambda: host.domains() == {instance.uuid: True}, "the instance is back")
    wait_until(lambda: host.console(instance).count(GREETING) == 2, "the guest is up again")


def test_etcd_restarts(host: ComputeHost, image: ImageSource, etcd: EtcdServer) -> None:
    etcd.restart(kill=True)
    host.wait_status(host.create(image).uuid, "running")


def test_what_nobody_asks_for_is_removed(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    host.remove_keys(
        keys.assignment(host.uuid, instance.uuid),
        keys.instance(instance.uuid),
        keys.instance_name(instance.name),
        keys.instance_status(instance.uuid),
    )
    wait_until(lambda: not host.placement.get_allocations(instance.uuid).allocations, "the allocation is released")
    host.assert_nothing_left(instance)


def test_an_allocation_without_an_instance_is_released(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    leaked = "11111111-2222-3333-4444-555555555555"
    host.placement.claim(leaked, {host.uuid: {"VCPU": 1}}, consumer_generation=None, project_id="test", user_id="test")
    wait_until(lambda: not host.placement.get_allocations(leaked).allocations, "the allocation is released")
    host.assert_runs_once(instance)


def test_an_emptied_store_costs_nobody_a_machine(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    wait_until((host.state / "store.json").exists, "the store is known")
    host.remove_keys(
        keys.CLUSTER,
        keys.host(host.uuid),
        keys.assignment(host.uuid, instance.uuid),
        keys.instance(instance.uuid),
        keys.instance_name(instance.name),
        keys.instance_status(instance.uuid),
    )
    wait_until(lambda: "emptied or exchanged" in _host_message(host), "the host says so")
    # It stays suspicious, also across a restart and a new id that somebody gives the store.
    host.kill_agent()
    host.store.commit([], [Write(keys.CLUSTER, b"another")])
    host.start_agent()
    wait_until(lambda: host.log.read_text().count("is alive to others") == 2, "the agent is back")
    wait_until(lambda: "emptied or exchanged" in _host_message(host), "the host says so again")
    assert host.domains() == {instance.uuid: True}
    assert (host.state / "instances" / instance.uuid / "disk.qcow2").exists()


def test_a_copied_machine_does_nothing_while_the_other_lives(host: ComputeHost, image: ImageSource) -> None:
    host.kill_agent()
    host.store.commit([], [Write(keys.alive(host.uuid), b'{"machine": "original (192.0.2.1)"}')])
    instance = host.create(image)
    host.start_agent()
    wait_until(lambda: "original (192.0.2.1), is alive as host" in host.log.read_text(), "the agent stands back")
    assert host.domains() == {}
    assert host.store.get(keys.instance_status(instance.uuid)) is None
    host.remove_keys(keys.alive(host.uuid))
    host.wait_status(instance.uuid, "running")
    host.assert_runs_once(instance)


def _host_message(host: ComputeHost) -> str:
    item = host.store.get(keys.host(host.uuid))
    return "" if item is None else item.value.decode()
