"""The posts' examples come to the posts' figures, on the service and by the patterns of the posts' queries."""

from collections.abc import Iterator, Mapping

import pytest

from etcdcompute.errors import AlreadyExists
from etcdcompute.placement.demo import cypher, providers, service, topologies, walk, written
from etcdcompute.placement.demo.examples import CONSUMERS, EXAMPLES, NESTED, NESTED_AND_SHARED, SHARED, Example, Search
from etcdcompute.placement.demo.play import Place, play
from etcdcompute.placement.demo.service import Asking
from etcdcompute.placement.demo.topologies import Topology, uuid_of
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.store import GraphStore


@pytest.fixture
def store() -> Iterator[GraphStore]:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    yield store
    store.close()


def silent(text: str) -> None:
    pass


def found_by_service(store: GraphStore, topology: Topology, search: Search) -> list[tuple[str, ...]]:
    answer = Asking(store, topology).search(search.request, with_ram=search.with_ram)
    return [record.names for record in answer.records]


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_the_nested_graph_is_as_large_as_the_posts(size: int) -> None:
    topology = topologies.nested(size)
    assert topology.graph_nodes == 18 * size
    assert topology.relationships == 16 * size


@pytest.mark.parametrize(("size", "loose", "strict"), [(50, 78, 6), (1000, 1536, 72)])
def test_nested(store: GraphStore, size: int, loose: int, strict: int) -> None:
    topology = topologies.nested(size)
    service.load(store, topology, silent)
    for search, count in zip(NESTED.searches, (loose, strict), strict=True):
        served = found_by_service(store, topology, search)
        assert len(served) == count
        assert served == sorted(record.names for record in search.matches(topology))


def test_the_largest_nested_graph_of_the_posts() -> None:
    assert len(walk.ram_and_disk(topologies.nested(10_000), 2000, 1000, directed=True)) == 15_354


def test_the_six_dictionaries() -> None:
    topology = topologies.nested(50)
    found = [written.dictionary(record) for record in NESTED.searches[1].matches(topology)]
    assert [(each["cnode"]["name"], each["disk"]["name"], each["ram"]["name"]) for each in found] == [
        ("cn0000", "disk0000", "ram0000"),
        ("cn0001", "disk0001", "ram0001"),
        ("cnNuma0000", "diskNuma0000", "ramNumaA0000"),
        ("cnNuma0000", "diskNuma0000", "ramNumaB0000"),
        ("cnNuma0001", "diskNuma0001", "ramNumaA0001"),
        ("cnNuma0001", "diskNuma0001", "ramNumaB0001"),
    ]
    assert [(each["disk"]["used"], each["ram"]["used"]) for each in found] == [(0, 0), (40, 81)] + 2 * [(0, 0)] + 2 * [
        (40, 81)
    ]
    assert found[3]["p"] == "(cnNuma0000)-[:CONTAINS]->(numaB0000)-[:PROVIDES]->(ramNumaB0000)"


def test_shared(store: GraphStore) -> None:
    topology = topologies.shared()
    service.load(store, topology, silent)
    served = [found_by_service(store, topology, search) for search in SHARED.searches]
    assert [len(each) for each in served] == [5, 4, 2]
    assert served == [sorted(record.names for record in search.matches(topology)) for search in SHARED.searches]


def test_the_posts_query_pairs_three_with_disks_of_others_and_the_service_does_not(store: GraphStore) -> None:
    topology = topologies.nested_and_shared(50)
    service.load(store, topology, silent)
    counts = []
    for search in NESTED_AND_SHARED.searches:
        served = set(found_by_service(store, topology, search))
        matched = {record.names: record for record in search.matches(topology)}
        wrong = matched.keys() - served
        assert served <= matched.keys()
        assert all(walk.is_foreign(topology, matched[names].cnode, matched[names].disk) for names in wrong)
        counts.append((len(matched), len(served)))
    assert counts == [(15, 12), (6, 6), (3, 3)]


def test_consumers(store: GraphStore) -> None:
    service.load(store, topologies.consumed(), silent)
    jay, ed = (service.used_by(store, uuid_of(name)) for name in ("Jay", "Ed"))
    assert jay == {"VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 500}
    assert ed == {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 250}
    everything = {"VCPU": 3, "MEMORY_MB": 1536, "DISK_GB": 750}
    assert service.total([jay, ed]) == everything
    assert service.used_in_project(store, providers.PROJECT) == everything
    assert service.used_in_project(store, providers.PROJECT, "ed") == ed
    assert service.with_left(store, "DISK_GB", 2_000) == {"simple_node": 3250}
    assert service.with_left(store, "DISK_GB", 3_250) == {}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_demo_says_what_it_found_and_leaves_nothing(store: GraphStore, example: Example) -> None:
    said: list[str] = []
    play(example, 5, Place(store, "a store"), keep=False, show=said.append, say=silent)
    text = "\n".join(said)
    assert all(search.cypher.splitlines()[-1] in text for search in example.searches)
    snapshot = store.take_snapshot()
    assert not (snapshot.providers)
    assert not (snapshot.consumers)
    assert not (snapshot.resource_classes)


def test_what_an_earlier_demo_left_is_removed_first(store: GraphStore) -> None:
    place = Place(store, "a store")
    play(NESTED, 3, place, keep=True, show=silent, say=silent)
    play(CONSUMERS, 1, place, keep=True, show=silent, say=silent)
    assert [document.name for document, _ in store.take_snapshot().providers] == ["simple_node"]
    play(SHARED, 1, place, keep=False, show=silent, say=silent)
    snapshot = store.take_snapshot()
    assert not (snapshot.providers)
    assert not (snapshot.consumers)
    assert not (snapshot.resource_classes)


def test_a_store_with_anything_else_in_it_is_left_alone(store: GraphStore) -> None:
    store.create_provider("c83b9aaf-8b1a-4d0c-9c0e-46b7ba3f6d05", "mine", None)
    with pytest.raises(AlreadyExists, match=r"a store holds 1 resource providers already, among them 'mine'"):
        play(SHARED, 1, Place(store, "a store"), keep=False, show=silent, say=silent)
    assert len(store.take_snapshot().providers) == 1


def test_half_a_demo_is_removed_too(store: GraphStore) -> None:
    def show(text: str) -> None:
        if "disk >" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(SHARED, 1, Place(store, "a store"), keep=True, show=show, say=silent)
    assert store.take_snapshot().providers == []


def test_rows_of_neo4j_are_shown_rather_than_the_pattern_s(store: GraphStore) -> None:
    topology = topologies.shared()
    disk = {"name": "gb_big"}
    rows: Mapping[str, list[dict[str, object]]] = {
        search.cypher: [{"cnode": {"name": "cn_shared1"}, "disk": disk}] for search in SHARED.searches
    }

    def run(statement: str, parameters: Mapping[str, object]) -> list[dict[str, object]]:
        return [{"found": 0}] if statement == cypher.COUNT_LABELLED else rows.get(statement, [])

    said: list[str] = []
    play(SHARED, 1, Place(store, "x", lambda work: work(run)), keep=False, show=said.append, say=silent)
    assert sum("the query on Neo4j   1 records" in text for text in said) == 3
    assert topology.graph_nodes == 12


def test_statements_hold_labels_and_no_names() -> None:
    for example in EXAMPLES.values():
        topology = example.make(3)
        names = {holder.name for holder in topology.all_holders()} | {taker.name for taker in topology.takers}
        for statement, _ in cypher.creation(topology):
            assert not [name for name in names if f"'{name}'" in statement or f'"{name}"' in statement]
