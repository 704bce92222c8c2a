"""What the agent decides over time: pauses, retries, what it tells the user."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from etcdcompute.agent import steps as steps_module
from etcdcompute.agent.domain_xml import HostFlavour, mac_address
from etcdcompute.agent.errors import DomainRefused, PlacementUnavailable
from etcdcompute.agent.hypervisor import CardAddress, Domain, DomainState
from etcdcompute.agent.machine import Disk
from etcdcompute.agent.outage import Outage
from etcdcompute.agent.paths import StatePaths
from etcdcompute.agent.reconcile import Reconciler
from etcdcompute.agent.status import StatusWriter
from etcdcompute.agent.steps import Host, Steps
from etcdcompute.errors import Unavailable
from etcdcompute.model import Assignment, Instance, InstanceStatus, Phase, PowerState, keys
from tests.unit.agent.fakes import (
    FakeAssignments,
    FakeClock,
    FakeHypervisor,
    FakeImages,
    FakeOrphans,
    FakePlacement,
    FakeStore,
)
from tests.unit.agent.samples import HOST, UUID, make_instance

MIB = 1024**2


class World:
    """A reconciler with everything around it."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.hypervisor = FakeHypervisor()
        self.placement = FakePlacement()
        self.assignments = FakeAssignments(UUID)
        self.orphans = FakeOrphans()
        self.paths = StatePaths(tmp_path)
        self.paths.prepare()
        self.images = FakeImages(tmp_path / "image")
        status = StatusWriter(cast(Any, self.store), host_uuid=HOST, host_name="host1")
        steps = Steps(
            host=Host(HOST, HostFlavour("x86_64", "qemu")),
            paths=self.paths,
            hypervisor=self.hypervisor,
            images=cast(Any, self.images),
            store=cast(Any, self.store),
            placement=cast(Any, self.placement),
            placement_outage=Outage("placement"),
        )
        self.reconciler = Reconciler(
            host_uuid=HOST,
            store=cast(Any, self.store),
            assignments=cast(Any, self.assignments),
            hypervisor=self.hypervisor,
            images=cast(Any, self.images),
            steps=steps,
            status=status,
            orphans=cast(Any, self.orphans),
            address_limit_s=30,
            clock=self.clock,
        )

    def put(self, instance: Instance) -> Instance:
        assignment = Assignment(
            instance=UUID, host=HOST, generation=instance.generation, assigned_at="2026-01-31T09:05:00.123Z"
        )
        self.store.put(keys.instance(UUID), instance.to_json())
        self.store.put(keys.instance_name(instance.name), UUID.encode())
        self.store.put(keys.assignment(HOST, UUID), assignment.to_json())
        return instance

    def reconcile(self) -> float | None:
        return self.reconciler.reconcile(UUID)

    @property
    def status(self) -> InstanceStatus:
        item = self.store.get(keys.instance_status(UUID))
        assert item is not None
        return InstanceStatus.from_json(item.value)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    def touch(_image: Path, _source: object, disk: Path, **_: object) -> None:
        disk.touch()

    monkeypatch.setattr(steps_module, "create_overlay", touch)
    return World(tmp_path)


def test_created_and_seen_again_changes_nothing(world: World) -> None:
    world.put(make_instance(networks=()))
    assert world.reconcile() is None
    assert (world.status.phase, world.status.observed_generation, world.status.host) == (Phase.RUNNING, 1, "host1")
    commits, calls = world.store.commits, len(world.hypervisor.calls)
    assert world.reconcile() is None
    assert world.store.commits == commits
    assert len(world.hypervisor.calls) == calls


def test_an_image_on_its_way_holds_no_worker(world: World) -> None:
    world.put(make_instance())
    world.images.there = False
    assert world.reconcile() is None
    assert world.status.phase is Phase.BUILDING
    assert world.hypervisor.calls == []


def test_addresses_are_looked_for_ever_less_often_until_found(world: World) -> None:
    world.put(make_instance())
    pauses = []
    for _ in range(60):
        pause = world.reconcile()
        assert pause is not None
        pauses.append(pause)
        world.clock.advance(pause)
    assert pauses[0] == 0.25
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    world.hypervisor.found = (CardAddress(mac_address(UUID, 0), "192.0.2.7"), CardAddress("52:54:00:00:00:01", "x"))
    assert world.reconcile() is None
    assert [(each.ip, each.network) for each in world.status.addresses] == [("192.0.2.7", "default")]
    # A lease that libvirt forgot is no news of the guest.
    world.hypervisor.found = ()
    assert world.reconcile() is None
    assert world.status.addresses


def test_a_failed_build_is_undone_and_tried_again_with_growing_pauses(world: World) -> None:
    world.put(make_instance(networks=()))
    world.hypervisor.refusal = "no such machine type"
    pauses = []
    for _ in range(9):
        pause = world.reconcile()
        assert pause is not None
        assert not world.paths.instance(UUID).directory.exists()
        assert world.hypervisor.known == {}
        pauses.append(pause)
        # Looked at in between (a resync), nothing is tried.
        starts = world.hypervisor.calls.count("start")
        world.clock.advance(pause / 2)
        assert world.reconcile() == pytest.approx(pause / 2)
        assert world.hypervisor.calls.count("start") == starts
        world.clock.advance(pause / 2)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert (world.status.phase, world.status.code) == (Phase.ERROR, "domain_refused")
    assert world.status.observed_generation == 1
    # A change by the user is tried at once.
    world.reconcile()
    world.hypervisor.refusal = ""
    world.put(make_instance(generation=2, networks=()))
    world.reconcile()
    assert (world.status.phase, world.status.code, world.status.message) == (Phase.RUNNING, "", "")


def test_a_failed_build_that_cannot_be_undone_says_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_uuid: str) -> None:
        raise DomainRefused("it has checkpoints")

    world.put(make_instance(networks=()))
    world.hypervisor.refusal = "no memory"
    monkeypatch.setattr(world.hypervisor, "undefine", refuse)
    assert world.reconcile() == 5
    assert (world.status.phase, world.status.code) == (Phase.ERROR, "domain_refused")
    assert world.status.message == "no memory; and what there is of it could not be removed: it has checkpoints"


def test_a_disk_that_a_guest_has_used_survives_a_failed_start(world: World) -> None:
    world.put(make_instance(networks=()))
    world.reconcile()
    world.hypervisor.set_state(UUID, DomainState.SHUT_OFF)
    world.hypervisor.refusal = "no memory"
    world.reconcile()
    assert world.status.code == "domain_refused"
    assert world.paths.instance(UUID).disk.exists()
    assert UUID in world.hypervisor.known


def test_a_guest_that_ignores_the_power_button_is_switched_off(world: World) -> None:
    world.put(make_instance())
    world.reconcile()
    world.hypervisor.heeds_shutdown = False
    world.put(make_instance(generation=2, power_state=PowerState.STOPPED))
    waited = 0.0
    while (pause := world.reconcile()) is not None:
        assert world.status.phase is Phase.RUNNING
        world.clock.advance(pause)
        waited += pause
    assert waited == 60
    assert world.hypervisor.calls[-1] == "destroy"
    assert (world.status.phase, world.status.observed_generation) == (Phase.STOPPED, 2)


def test_a_guest_that_goes_off_again_and_again_is_started_ever_less_often(world: World) -> None:
    world.put(make_instance(networks=()))
    world.reconcile()
    pauses = []
    for _ in range(10):
        world.clock.advance(1)
        world.hypervisor.set_state(UUID, DomainState.SHUT_OFF)
        pause = world.reconcile()
        if pause is not None:
            assert (world.status.phase, world.status.code) == (Phase.ERROR, "guest_exits")
            pauses.append(pause)
            world.clock.advance(pause)
            assert world.reconcile() is None
        assert world.status.phase is Phase.RUNNING
    assert pauses == [1, 3, 7, 15, 31, 59, 59, 59]
    # After a long life it counts as new.
    world.clock.advance(3600)
    world.hypervisor.set_state(UUID, DomainState.SHUT_OFF)
    assert world.reconcile() is None


def test_a_paused_domain_is_told_and_left_alone(world: World) -> None:
    world.put(make_instance())
    world.reconcile()
    calls = len(world.hypervisor.calls)
    world.hypervisor.set_state(UUID, DomainState.PAUSED, "its disk had an input/output error")
    world.reconcile()
    assert (world.status.phase, world.status.code) == (Phase.ERROR, "domain_paused")
    assert "input/output error" in world.status.message
    assert len(world.hypervisor.calls) == calls


def test_a_guest_that_found_no_space_goes_on_when_there_is_some(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The instance's folder is what counts: `instances/` may be a filesystem of its own.
    free = [10]
    monkeypatch.setattr(
        steps_module, "read_disk", lambda path: Disk(100 * MIB, (free[0] if path.name == UUID else 90) * MIB)
    )
    world.put(make_instance(networks=()))
    world.reconcile()
    world.hypervisor.set_state(UUID, DomainState.STARVED)
    assert world.reconcile() == 5
    assert (world.status.phase, world.status.code) == (Phase.ERROR, "disk_full")
    assert "resume" not in world.hypervisor.calls
    free[0] = 80
    world.clock.advance(5)
    assert world.reconcile() is None
    assert world.hypervisor.calls[-1] == "resume"
    assert world.status.phase is Phase.RUNNING
    # It found none again, whatever the filesystem says: not resumed without a pause.
    world.hypervisor.set_state(UUID, DomainState.STARVED)
    world.clock.advance(2)
    assert world.reconcile() == 3
    assert world.status.code == "disk_full"
    world.clock.advance(3)
    assert world.reconcile() is None
    assert world.status.phase is Phase.RUNNING


def test_a_guest_that_found_no_space_can_be_stopped_and_deleted(world: World) -> None:
    instance = world.put(make_instance(networks=()))
    world.reconcile()
    world.hypervisor.set_state(UUID, DomainState.STARVED)
    world.put(msgspec.structs.replace(instance, generation=2, deleted=True))
    world.reconcile()
    assert not world.hypervisor.known


def test_somebody_elses_domain_is_never_touched(world: World) -> None:
    world.hypervisor.known[UUID] = Domain(UUID, "theirs", DomainState.RUNNING, "")
    instance = world.put(make_instance())
    world.reconcile()
    assert world.status.code == "domain_conflict"
    world.put(msgspec.structs.replace(instance, generation=2, deleted=True))
    world.reconcile()
    assert world.hypervisor.calls == []
    assert world.hypervisor.known[UUID].name == "theirs"
    assert world.store.items == {}


def test_a_domain_that_lost_our_mark_keeps_its_disk(world: World) -> None:
    instance = world.put(make_instance())
    world.reconcile()
    known = world.hypervisor.known
    known[UUID] = replace(known[UUID], digest="")
    disk = world.paths.instance(UUID).disk
    world.put(msgspec.structs.replace(instance, generation=2, deleted=True))
    world.reconcile()
    assert disk.exists()
    assert world.status.phase is Phase.DELETING
    assert "virsh undefine" in world.status.message
    assert keys.instance(UUID) in world.store.items


def test_a_name_that_is_taken_on_the_host_gives_way(world: World) -> None:
    other = "22222222-2222-3333-4444-555555555555"
    world.hypervisor.known[other] = Domain(other, "web1", DomainState.RUNNING, "")
    world.put(make_instance())
    world.reconcile()
    assert world.hypervisor.known[UUID].name == f"instance-{UUID}"


def test_deleted_leaves_nothing_and_keeps_a_name_that_is_anothers(world: World) -> None:
    instance = world.put(make_instance())
    world.reconcile()
    world.put(msgspec.structs.replace(instance, generation=2, deleted=True))
    world.store.put(keys.instance_name("web1"), b"22222222-2222-3333-4444-555555555555")
    assert world.reconcile() is None
    assert set(world.store.items) == {keys.instance_name("web1")}
    assert world.placement.released == [UUID]
    assert world.hypervisor.known == {}
    assert not world.paths.instance(UUID).directory.exists()
    assert world.images.withdrawn


def test_what_keeps_a_deletion_from_its_end_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_consumer: str) -> None:
        raise Unavailable("placement at http://192.0.2.1:8778 cannot be reached")

    instance = world.put(make_instance(networks=()))
    world.reconcile()
    world.put(msgspec.structs.replace(instance, generation=2, deleted=True))
    with monkeypatch.context() as patch:
        patch.setattr(world.placement, "release", fail)
        commits = []
        for _ in range(3):
            with pytest.raises(PlacementUnavailable):
                world.reconcile()
            commits.append(world.store.commits)
            assert (world.status.phase, world.status.code) == (Phase.DELETING, "placement_unavailable")
            assert "192.0.2.1" in world.status.message
    assert commits[0] == commits[-1]
    assert world.reconcile() is None
    assert world.store.items == {}


@pytest.mark.parametrize(
    "document", [b"nonsense", b'{"schema":9}', make_instance(uuid=HOST).to_json()], ids=["text", "newer", "other uuid"]
)
def test_an_unreadable_document_is_told_and_nothing_is_done(world: World, document: bytes) -> None:
    world.put(make_instance(generation=3))
    world.store.put(keys.instance(UUID), document)
    assert world.reconcile() is None
    assert (world.status.phase, world.status.code) == (Phase.ERROR, "invalid_document")
    assert world.status.observed_generation == 3
    assert world.hypervisor.calls == []


def test_a_document_that_was_broken_for_a_moment_leaves_no_error_behind(world: World) -> None:
    world.put(make_instance(networks=()))
    world.reconcile()
    running = world.status
    # Between two looks of the agent it broke, the scheduler said so, and it was repaired.
    invalid = msgspec.structs.replace(running, phase=Phase.ERROR, code="invalid_document", message="instance: …")
    world.store.put(keys.instance_status(UUID), invalid.to_json())
    assert world.reconcile() is None
    assert (world.status.phase, world.status.code, world.status.message) == (Phase.RUNNING, "", "")


def test_a_document_that_is_gone_costs_nobody_a_machine(world: World) -> None:
    world.put(make_instance())
    world.reconcile()
    del world.store.items[keys.instance(UUID)]
    world.reconcile()
    assert world.status.code == "instance_missing"
    assert world.hypervisor.known[UUID].state is DomainState.RUNNING


def test_no_status_outlives_its_assignment(world: World) -> None:
    world.put(make_instance())
    del world.store.items[keys.assignment(HOST, UUID)]
    world.reconcile()
    assert keys.instance_status(UUID) not in world.store.items


def test_what_is_not_assigned_here_is_for_the_sweep(world: World) -> None:
    world.assignments.assigned = frozenset()
    world.reconcile()
    assert world.orphans.settled == [UUID]
