"""A reshape over a real etcd, into which somebody else writes between its decision and its commit."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.kv.client import Client
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import ConsumerGenerationConflict, GenerationConflict, UnknownResourceClass
from etcdcompute.placement.graph.etcd import EtcdJournal
from etcdcompute.placement.graph.records import Claim, Inventory, NewInventories
from tests.functional.etcd_server import EtcdServer


class Interrupted(EtcdJournal):
    """A journal that lets somebody else write first, once."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.first: Callable[[], object] | None = None

    def commit(self, change: Change, deadline: Deadline) -> int:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().commit(change, deadline)


@pytest.fixture
def journal(etcd: EtcdServer) -> Interrupted:
    return Interrupted(Client((etcd.endpoint,)))


@pytest.fixture
def store(journal: Interrupted) -> Iterator[EmbeddedStore]:
    """A host whose CPUs shall move to its child; a consumer has some of them."""
    store = EmbeddedStore(journal)
    store.start()
    with closing(store):
        store.create_resource_class("CUSTOM_CPU")
        store.create_provider("host", "host", None)
        store.create_provider("numa", "numa", "host")
        store.set_inventories("host", {"CUSTOM_CPU": Inventory(8)}, 0)
        store.claim([Claim("one", {"host": {"CUSTOM_CPU": 2}}, "p", "u", generation=None)])
        yield store


@pytest.fixture
def other(etcd: EtcdServer, store: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """A replica."""
    other = EmbeddedStore(EtcdJournal(Client((etcd.endpoint,))))
    other.start()
    with closing(other):
        yield other


def reshape(store: EmbeddedStore) -> None:
    store.reshape(
        {"host": NewInventories(2, {}), "numa": NewInventories(0, {"CUSTOM_CPU": Inventory(8)})},
        [Claim("one", {"numa": {"CUSTOM_CPU": 2}}, "p", "u", generation=1)],
    )


def picture(store: EmbeddedStore) -> object:
    return [store.list_provider_consumers(uuid) for uuid in ("host", "numa")], store.get_consumer("one")


def test_a_replica_sees_all_of_it(store: EmbeddedStore, other: EmbeddedStore) -> None:
    reshape(store)
    assert other.get_provider("host").inventories == {}
    assert other.get_provider("numa").used == {"CUSTOM_CPU": 2}
    assert picture(other) == picture(store)


def test_a_claim_that_comes_first_refuses_all_of_it(
    journal: Interrupted, store: EmbeddedStore, other: EmbeddedStore
) -> None:
    journal.first = lambda: other.claim([Claim("two", {"host": {"CUSTOM_CPU": 1}}, "p", "u", generation=None)])
    with pytest.raises(GenerationConflict, match="host: actual: 3, given: 2"):
        reshape(store)
    assert store.get_provider("host").used == {"CUSTOM_CPU": 3}
    assert store.get_provider("numa").inventories == {}
    assert picture(store) == picture(other)


def test_a_release_that_comes_first_refuses_all_of_it(
    journal: Interrupted, store: EmbeddedStore, other: EmbeddedStore
) -> None:
    # It changes no provider's generation.
    journal.first = lambda: other.release("one")
    with pytest.raises(ConsumerGenerationConflict):
        reshape(store)
    assert store.get_provider("host").used == {"CUSTOM_CPU": 0}
    assert store.get_provider("numa").inventories == {}
    assert picture(store) == picture(other)


def test_a_class_that_goes_first_refuses_all_of_it(
    journal: Interrupted, store: EmbeddedStore, other: EmbeddedStore
) -> None:
    store.create_resource_class("CUSTOM_NEW")
    journal.first = lambda: other.delete_resource_class("CUSTOM_NEW")
    before = picture(store)
    with pytest.raises(UnknownResourceClass, match="CUSTOM_NEW"):
        store.reshape({"numa": NewInventories(0, {"CUSTOM_NEW": Inventory(8)})}, [])
    assert picture(store) == picture(other) == before


def test_what_has_nothing_to_do_with_it_does_not_disturb_it(
    journal: Interrupted, store: EmbeddedStore, other: EmbeddedStore
) -> None:
    journal.first = lambda: other.create_provider("stranger", "stranger", None)
    reshape(store)
    assert store.get_provider("numa").used == {"CUSTOM_CPU": 2}
    assert store.get_provider("stranger").generation == 0
