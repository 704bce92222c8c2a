"""A reshape: inventories and what is claimed of them move together, or stay."""

from collections.abc import Iterator

import pytest

from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import (
    CannotAllocate,
    ConsumerGenerationConflict,
    GenerationConflict,
    InventoryInUse,
    ProviderNotFound,
    UnknownProvider,
    UnknownResourceClass,
)
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.records import Claim, Inventory, NewInventories

DISK = {"DISK_GB": Inventory(100)}
CPUS = {"VCPU": Inventory(8)}


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A host with CPUs and disk, of which two consumers have some, and its empty child."""
    store = EmbeddedStore(MemoryJournal())
    store.start()
    store.create_provider("host", "host", None)
    store.create_provider("numa", "numa", "host")
    store.set_inventories("host", {**CPUS, **DISK}, 0)
    store.claim([Claim("one", {"host": {"VCPU": 2, "DISK_GB": 10}}, "p", "u", generation=None)])
    store.claim([Claim("two", {"host": {"VCPU": 3}}, "p", "u", generation=None)])
    yield store
    store.close()


def moved(store: EmbeddedStore, cpus: int = 8) -> dict[str, NewInventories]:
    """What is planned: the CPUs are the child's."""
    return {
        "host": NewInventories(store.get_provider("host").generation, DISK),
        "numa": NewInventories(store.get_provider("numa").generation, {"VCPU": Inventory(cpus)}),
    }


ONE = Claim("one", {"host": {"DISK_GB": 10}, "numa": {"VCPU": 2}}, "p", "u", generation=1)
TWO = Claim("two", {"numa": {"VCPU": 3}}, "p", "u", generation=1)


def picture(store: EmbeddedStore) -> object:
    return [store.list_provider_consumers(uuid) for uuid in ("host", "numa")]


def test_inventory_that_is_claimed_from_moves_to_a_child(store: EmbeddedStore) -> None:
    store.reshape(moved(store), [ONE, TWO])
    host, numa = store.get_provider("host"), store.get_provider("numa")
    assert (host.inventories, host.used) == (DISK, {"DISK_GB": 10})
    assert (numa.inventories, numa.used) == (CPUS, {"VCPU": 5})
    consumer, _ = store.get_consumer("two")
    assert consumer is not None
    assert (consumer.generation, consumer.allocations) == (2, {"numa": {"VCPU": 3}})


def test_generations_grow_by_as_many_as_openstack_takes_steps(store: EmbeddedStore) -> None:
    before = store.get_provider("host").generation
    store.reshape(moved(store), [ONE, TWO])
    # Inventories, allocations, inventories without what has gone.
    assert store.get_provider("host").generation == before + 3
    assert store.get_provider("numa").generation == 3
    # Nothing is left for the child, and nobody claims from it.
    store.reshape({"numa": NewInventories(3, {**CPUS, "PCPU": Inventory(1)})}, [])
    assert store.get_provider("numa").generation == 5


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ([ONE], InventoryInUse),  # what the other has of the host's CPUs would be of nothing
        ([], InventoryInUse),
        ([ONE, Claim("two", {"host": {"VCPU": 3}}, "p", "u", generation=1)], InventoryInUse),
        ([ONE, Claim("two", {"numa": {"VCPU": 7}}, "p", "u", generation=1)], CannotAllocate),
        ([ONE, Claim("two", {"numa": {"VCPU": 3}}, "p", "u", generation=2)], ConsumerGenerationConflict),
        ([ONE, TWO, Claim("new", {"numa": {"VCPU": 1}}, "p", "u", generation=1)], ConsumerGenerationConflict),
        ([ONE, Claim("two", {"nowhere": {"VCPU": 3}}, "p", "u", generation=1)], UnknownProvider),
        ([ONE, Claim("two", {"numa": {"CUSTOM_NO": 3}}, "p", "u", generation=1)], UnknownResourceClass),
    ],
)
def test_what_does_not_fit_as_a_whole_changes_nothing(
    store: EmbeddedStore, claims: list[Claim], refusal: type[Exception]
) -> None:
    before = picture(store)
    with pytest.raises(refusal):
        store.reshape(moved(store), claims)
    assert picture(store) == before


def test_what_a_request_both_takes_away_and_claims(store: EmbeddedStore) -> None:
    store.set_inventories("numa", {"PCPU": Inventory(4)}, 0)
    claim = Claim("new", {"numa": {"PCPU": 1}}, "p", "u", generation=None)
    with pytest.raises(InventoryInUse, match=r"PCPU.*numa.*The request itself claims it\."):
        store.reshape({"numa": NewInventories(1, CPUS)}, [claim])


def test_plans_for_what_has_changed_since_are_refused(store: EmbeddedStore) -> None:
    planned = moved(store)
    store.claim([Claim("three", {"host": {"VCPU": 1}}, "p", "u", generation=None)])
    before = picture(store)
    with pytest.raises(GenerationConflict, match="host: actual: 4, given: 3"):
        store.reshape(planned, [ONE, TWO])
    assert picture(store) == before


def test_inventories_of_what_is_not_there(store: EmbeddedStore) -> None:
    before = picture(store)
    with pytest.raises(ProviderNotFound):
        store.reshape({**moved(store), "nowhere": NewInventories(0, CPUS)}, [ONE, TWO])
    with pytest.raises(UnknownResourceClass):
        store.reshape({"numa": NewInventories(0, {"CUSTOM_NO": Inventory(1)})}, [])
    assert picture(store) == before


def test_an_overfull_provider_may_be_reshaped_as_long_as_it_gets_no_worse(store: EmbeddedStore) -> None:
    generation = store.get_provider("host").generation
    store.reshape({"host": NewInventories(generation, {"VCPU": Inventory(4), **DISK})}, [])
    fewer = Claim("two", {"host": {"VCPU": 2}}, "p", "u", generation=1)
    store.reshape({"host": NewInventories(generation + 2, {"VCPU": Inventory(3), **DISK})}, [fewer])
    assert store.get_provider("host").used == {"VCPU": 4, "DISK_GB": 10}
    more = Claim("two", {"host": {"VCPU": 3}}, "p", "u", generation=2)
    with pytest.raises(CannotAllocate, match="5 of 3"):
        store.reshape({"host": NewInventories(generation + 5, {"VCPU": Inventory(3), **DISK})}, [more])


def test_consumers_may_come_and_go_in_a_reshape(store: EmbeddedStore) -> None:
    gone = Claim("two", {}, "p", "u", generation=1)
    new = Claim("new", {"numa": {"VCPU": 6}}, "p", "u", "INSTANCE", None)
    store.reshape(moved(store), [ONE, gone, new])
    assert store.get_consumer("two")[0] is None
    assert store.get_provider("numa").used == {"VCPU": 8}
