"""What is here and not assigned here: removed only where the instance is certainly gone."""

from pathlib import Path
from typing import Any, cast

import pytest

from etcdcompute.agent.domain_xml import HostFlavour
from etcdcompute.agent.hypervisor import Domain, DomainState
from etcdcompute.agent.identity import StoreMemory
from etcdcompute.agent.orphans import Orphans
from etcdcompute.agent.outage import Outage
from etcdcompute.agent.paths import StatePaths
from etcdcompute.agent.steps import Host, Steps
from etcdcompute.model import keys
from etcdcompute.placement.client import Allocations, ProviderAllocations
from tests.unit.agent.fakes import FakeAssignments, FakeHypervisor, FakePlacement, FakeStore
from tests.unit.agent.samples import HOST, UUID, make_instance

OTHER_HOST = "88888888-2222-3333-4444-555555555555"


class HoldingPlacement(FakePlacement):
    """Placement in which the instance holds something on one provider."""

    def __init__(self, provider: str, consumer_type: str) -> None:
        super().__init__()
        self.provider = provider
        self.consumer_type = consumer_type

    def get_allocations(self, _consumer: str) -> Allocations:
        return Allocations({self.provider: {"VCPU": 1}}, 1, consumer_type=self.consumer_type)

    def get_provider_allocations(self, uuid: str) -> ProviderAllocations:
        return ProviderAllocations(1, {UUID: {"VCPU": 1}} if uuid == self.provider else {})


class World:
    """A host with a domain and files of an instance that is not assigned to it."""

    def __init__(self, tmp_path: Path, *, provider: str = HOST, consumer_type: str = "INSTANCE") -> None:
        self.store = FakeStore()
        self.store.put(keys.CLUSTER, b"one")
        self.hypervisor = FakeHypervisor()
        self.hypervisor.known[UUID] = Domain(UUID, "web1", DomainState.RUNNING, "digest")
        self.placement = HoldingPlacement(provider, consumer_type)
        paths = StatePaths(tmp_path)
        paths.prepare()
        paths.instance(UUID).create()
        self.disk = paths.instance(UUID).disk
        self.disk.touch()
        outage = Outage("placement")
        steps = Steps(
            host=Host(HOST, HostFlavour("x86_64", "qemu")),
            paths=paths,
            hypervisor=self.hypervisor,
            images=cast(Any, None),
            store=cast(Any, self.store),
            placement=cast(Any, self.placement),
            placement_outage=outage,
        )
        self.orphans = Orphans(
            host_uuid=HOST,
            store=cast(Any, self.store),
            memory=StoreMemory(paths.store),
            assignments=cast(Any, FakeAssignments()),
            hypervisor=self.hypervisor,
            paths=paths,
            placement=cast(Any, self.placement),
            placement_outage=outage,
            steps=steps,
        )

    def settle(self) -> None:
        found = self.orphans.find_local() | self.orphans.find_allocated()
        assert found == {UUID}
        assert self.orphans.settle(UUID) is None

    @property
    def intact(self) -> bool:
        return self.hypervisor.known[UUID].state is DomainState.RUNNING and self.disk.exists()


def test_what_is_left_of_an_instance_that_is_gone_is_removed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settle()
    assert (world.hypervisor.known, world.disk.parent.exists()) == ({}, False)
    assert world.placement.released == [UUID]


@pytest.mark.parametrize("provider", [HOST, OTHER_HOST])
def test_a_host_that_lost_its_uuid_costs_nobody_a_machine(
    tmp_path: Path, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, provider=provider)
    world.store.put(keys.instance(UUID), make_instance().to_json())
    world.store.put(keys.assignment(OTHER_HOST, UUID), b"{}")
    for _ in range(3):
        world.settle()
    assert world.intact
    assert world.placement.released == []
    (said,) = (each.getMessage() for each in caplog.records)
    assert UUID in said
    assert "host-uuid" in said


def test_what_others_than_instances_hold_is_theirs(tmp_path: Path) -> None:
    world = World(tmp_path, consumer_type="BARE_METAL")
    world.settle()
    assert world.placement.released == []


def test_an_emptied_store_is_not_believed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.store.put(keys.instance(UUID), make_instance().to_json())
    world.orphans.remember_store()
    world.store.items.clear()
    world.settle()
    assert world.intact
    assert world.placement.released == []
