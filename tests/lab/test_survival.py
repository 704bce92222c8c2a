"""Daemons and etcd die at every step of a create and of a delete; each time all ends as asked for.

The steps are the failpoints in the code: behind each step that changes the world outside, and this list is held to be
complete. `kill` ends the daemon that reaches the point with SIGKILL; the other disturbances hit while it is held
there. systemd brings back what died, and nobody helps.
"""

import base64
import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdcompute.agent.plan import Step
from etcdcompute.kv.records import Remove
from etcdcompute.model import Phase, PowerState, keys
from tests.functional.agent.guests import WRITTEN_BYTES, write_writer
from tests.lab.cloud import PROJECT, STATE, Cloud, Node, wait_for
from tests.lab.instances import Instances

CREATE = (
    "scheduler.pending_written",
    "scheduler.claimed",
    "scheduler.assigned",
    "agent.image_cached",
    "agent.disk_created",
    "agent.seed_created",
    "agent.domain_defined",
    "agent.domain_started",
    "agent.status_written",
)
DELETE = (
    "scheduler.relayed",
    "agent.domain_destroyed",
    "agent.domain_undefined",
    "agent.files_removed",
    "agent.allocation_released",
    "agent.keys_removed",
)
DELETE_UNASSIGNED = ("scheduler.released", "scheduler.keys_removed")
RESUME = "agent.domain_resumed"
STOP = ("scheduler.relayed", "agent.shutdown_requested", "agent.status_written")
REGISTER = ("agent.host_written", "agent.provider_created", "agent.inventories_set", "agent.traits_set")
# In the service itself, between the commit of a claim or a release and the answer.
ANSWER = "placement.committed"
DISTURBANCES = ("kill", "etcd", "placement")


@pytest.fixture(scope="module", autouse=True)
def _armed(cloud: Cloud) -> Iterator[None]:
    with cloud.failpoints():
        cloud.await_daemons()
        yield
    cloud.await_daemons()


def test_every_step_in_the_code_is_among_these() -> None:
    source = PROJECT / "src" / "etcdcompute"
    calls = {point for path in source.rglob("*.py") for point in re.findall(r'failpoint\("([^"]+)"', path.read_text())}
    calls |= {f"agent.{step}" for step in Step}
    # The steps of an import are no daemon's: it is killed at each of them in test_transfer and test_graph_transfer.
    calls = {point for point in calls if not point.startswith("import.")}
    assert calls == {*CREATE, *DELETE, *DELETE_UNASSIGNED, *STOP, *REGISTER, RESUME, ANSWER}


def cut(cloud: Cloud, point: str, disturbance: str) -> None:
    """Wait until the point is reached and disturb; then let everything go on."""
    controller = cloud.controllers[0]
    if disturbance == "kill":
        cloud.await_hit(point, "kill")
    else:
        cloud.await_hit(point, "hold")
        if disturbance == "etcd":
            controller.run("systemctl kill --signal=KILL etcd")
        else:
            cloud.kill_daemon(controller, "placement")
    cloud.disarm()


def arm(cloud: Cloud, point: str, disturbance: str) -> None:
    cloud.arm(point, "kill" if disturbance == "kill" else "hold")


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("point", CREATE)
def test_a_create_survives(cloud: Cloud, instances: Instances, point: str, disturbance: str) -> None:
    arm(cloud, point, disturbance)
    instance = instances.create()
    cut(cloud, point, disturbance)
    instances.await_settled(instance)
    cloud.expect_consistent()
    assert instance.uuid in cloud.running_domains()


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("point", DELETE)
def test_a_delete_survives(cloud: Cloud, instances: Instances, point: str, disturbance: str) -> None:
    instance = instances.create_running()
    arm(cloud, point, disturbance)
    instances.delete(instance)
    cut(cloud, point, disturbance)
    instances.await_gone(instance)
    cloud.expect_consistent()


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("point", DELETE_UNASSIGNED)
def test_a_delete_before_there_is_a_host_survives(
    cloud: Cloud, instances: Instances, point: str, disturbance: str
) -> None:
    instance = instances.create(resources={"VCPU": 1, "MEMORY_MB": 2**30, "DISK_GB": 1})
    arm(cloud, point, disturbance)
    instances.delete(instance)
    cut(cloud, point, disturbance)
    instances.await_gone(instance)
    cloud.expect_consistent()


@pytest.mark.parametrize("point", ["scheduler.claimed", "agent.image_cached", "agent.domain_defined"])
def test_a_delete_during_a_build_ends_in_nothing(cloud: Cloud, instances: Instances, point: str) -> None:
    cloud.arm(point, "hold")
    instance = instances.create()
    cloud.await_hit(point, "hold")
    instances.delete(instance)
    cloud.disarm()
    instances.await_gone(instance)
    cloud.expect_consistent()
    assert all(instance.uuid not in uuids for uuids in cloud.domains().values())


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("point", STOP)
def test_a_stop_survives(cloud: Cloud, instances: Instances, point: str, disturbance: str) -> None:
    instance = instances.create_running()
    arm(cloud, point, disturbance)
    stopped = instances.set_power_state(instance, PowerState.STOPPED)
    cut(cloud, point, disturbance)
    instances.await_settled(stopped)
    cloud.expect_consistent()
    assert instance.uuid not in cloud.running_domains()


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_guest_that_found_no_space_survives(cloud: Cloud, instances: Instances, disturbance: str) -> None:
    node = idle_node(cloud)
    with cloud.only(node), small_disk(node) as enlarge:
        arm(cloud, RESUME, disturbance)
        instance = instances.create(image=put_writer(node))
        instances.await_status(instance, Phase.ERROR, "disk_full")
        enlarge()
        cut(cloud, RESUME, disturbance)
        instances.await_status(instance, Phase.RUNNING)
        cloud.expect_consistent()
        assert instance.uuid in cloud.running_domains()
        instances.delete(instance)
        instances.await_gone(instance)


@contextlib.contextmanager
def small_disk(node: Node) -> Iterator[Callable[[], object]]:
    """Put the node's instances on a disk that is too small for what the writer writes; yield what enlarges it."""
    node.run(f"mount -t tmpfs -o size={WRITTEN_BYTES // 2} tmpfs {STATE}/instances")
    try:
        yield lambda: node.run(f"mount -o remount,size=256M {STATE}/instances")
    finally:
        # Of a test that failed there may be guests; theirs is the mount then, and nobody else's.
        node.run(f"umount --lazy {STATE}/instances")


def put_writer(node: Node) -> dict[str, str]:
    """Put the image of a guest that writes, and then halts, on a node; return it as an instance names it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "writer.img"
        image = write_writer(path)
        there = f"/srv/{path.name}"
        node.run(f"echo {base64.b64encode(path.read_bytes()).decode()} | base64 -d > {there}")
    return {"url": there, "sha256": image.sha256, "format": image.format}


def test_placement_dies_between_a_claim_and_its_answer(cloud: Cloud, instances: Instances) -> None:
    cloud.arm(ANSWER, "kill")
    instance = instances.create()
    cut(cloud, ANSWER, "kill")
    instances.await_settled(instance)
    cloud.expect_consistent()


def test_placement_dies_between_a_release_and_its_answer(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create_running()
    cloud.arm(ANSWER, "kill")
    instances.delete(instance)
    cut(cloud, ANSWER, "kill")
    instances.await_gone(instance)
    cloud.expect_consistent()


def idle_node(cloud: Cloud) -> Node:
    domains = cloud.domains()
    return next(node for node in cloud.computes if not domains[node.name])


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("point", REGISTER)
def test_a_registration_survives(cloud: Cloud, point: str, disturbance: str) -> None:
    node = idle_node(cloud)
    uuid = cloud.host_uuids()[node.name]
    node.run("systemctl stop etcdcompute-agent")
    cloud.placement.delete_resource_provider(uuid)
    cloud.kv.commit([], [Remove(keys.host(uuid))])
    arm(cloud, point, disturbance)
    node.run("systemctl --no-block start etcdcompute-agent")
    cut(cloud, point, disturbance)
    wait_for(f"{node.name} to be alive", lambda: cloud.kv.get(keys.alive(uuid)))
    cloud.await_daemons()
    assert cloud.kv.get(keys.host(uuid)) is not None
    assert set(cloud.placement.get_inventories(uuid).inventories) == {"VCPU", "MEMORY_MB", "DISK_GB"}
    assert cloud.placement.get_traits(uuid).traits
