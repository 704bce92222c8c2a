"""The graph in memory: whatever the order in which changes arrive, it ends as the documents say."""

import gc
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict, EtcdComputeError
from etcdcompute.model.document import Document
from etcdcompute.placement.graph import decide, decide_claims, decide_names, decide_reshape
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import Kind, ProviderDocument, Ref, key_of, parse, ref_of
from etcdcompute.placement.graph.errors import CannotAllocate, ProviderInUse
from etcdcompute.placement.graph.journal import MemoryJournal, Stale
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import Claim, Inventory, NewInventories
from tests.unit.placement.deployment import Host, graph_of


def picture(graph: Graph) -> dict[str, Any]:
    """Everything in a graph, indexes included, in a form that can be compared."""
    return {
        "providers": {
            uuid: (
                node.record(),
                node.revision,
                node.counted,
                sorted(node.children),
                sorted(node.consumers),
                dict(node.used),
                dict(node.capacities),
                dict(node.room),
                node.coarse,
                node.summary(),
                sorted(member.uuid for member in node.tree()),
            )
            for uuid, node in graph.providers.items()
        },
        "names": graph.names,
        "consumers": {uuid: (each.document, each.revision) for uuid, each in graph.consumers.items()},
        "traits": graph.custom_traits,
        "classes": graph.custom_classes,
        "indexes": [
            {name: sorted(held) for name, held in index.items()}
            for index in (graph.by_class, graph.by_trait, graph.by_aggregate)
        ],
        "sharing": sorted(graph.sharing),
        "room": {
            (name, amount): sorted({node.uuid for level in graph.with_room(name, amount) for node in level})
            for name in ("VCPU", "CUSTOM_C")
            for amount in (1, 2, 4, 8)
        },
    }


class History:
    """A journal of one writer that remembers all: what etcd would hold, and what its watch would tell."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.documents: dict[Ref, tuple[Document, int]] = {}
        self.applied: list[Applied] = []
        # What each of these was decided upon, and wrote.
        self.touched: list[set[Ref]] = []

    def make(self, decision: Any, *arguments: Any, **named: Any) -> bool:
        change = Change()
        try:
            decision(self.graph, change, *arguments, **named)
        except EtcdComputeError:
            return False
        if change.empty:
            return False
        for ref, revision in change.expected.items():
            known = self.documents.get(ref)
            if ref.kind is not Kind.HEAD:
                assert (known[1] if known else 0) == revision, f"{ref} is expected at the wrong revision"
        assert set(change.expected) & (set(change.puts) | change.removals), "nothing of it would exclude it twice"
        revision = len(self.applied) + 1
        for ref, document in change.puts.items():
            self.documents[ref] = parse(ref, document.to_json()), revision
        for ref in change.removals:
            self.documents.pop(ref, None)
        applied = Applied(revision, {**change.puts, **dict.fromkeys(change.removals)})
        self.applied.append(applied)
        self.touched.append({*change.expected, *applied.documents})
        self.graph.apply(applied)
        self.graph.head = revision
        # Summaries and trees are kept once they were asked for: each change must drop those that it makes untrue.
        for node in self.graph.all_nodes():
            node.summary()
            node.tree()
        return True

    def listing(self) -> list[tuple[Ref, Document, int]]:
        return [(ref, document, at) for ref, (document, at) in self.documents.items()]


def loaded(documents: Iterable[tuple[Ref, Document, int]]) -> Graph:
    graph = Graph()
    graph.load(documents)
    return graph


PROVIDERS = [f"rp{number}" for number in range(5)]
CONSUMERS = [f"c{number}" for number in range(4)]


def some_step(chance: random.Random) -> Callable[[History], bool]:
    """Return one call of one decision; that it is refused is as good as that it is not."""
    name, other = chance.choice(PROVIDERS), chance.choice([None, *PROVIDERS])
    second = {
        each: Inventory(chance.randint(1, 8), max_unit=chance.choice([2, 100]), step_size=chance.choice([1, 1, 2]))
        for each in chance.sample(["VCPU", "CUSTOM_C"], 1)
    }
    new_name = f"name-{name}" + chance.choice(["", "-new"])
    traits, aggregates = chance.sample(["CUSTOM_T", "HW_CPU_X86_VMX"], 1), chance.sample(["a", "b"], 1)
    claims = [
        Claim(
            consumer,
            {chance.choice(PROVIDERS): {"VCPU": chance.randint(1, 3)} for _ in range(chance.randint(0, 2))},
            chance.choice("pq"),
            "user",
        )
        for consumer in chance.sample(CONSUMERS, 2)
    ]
    steps: list[Callable[[History], bool]] = [
        lambda history: history.make(decide.create_provider, name, f"name-{name}", other),
        lambda history: history.make(decide.create_provider, name, f"name-{name}", None),
        lambda history: history.make(decide.set_inventories, name, {"VCPU": Inventory(6), **second}, None),
        lambda history: history.make(decide.set_traits, name, traits, None),
        lambda history: history.make(decide.set_aggregates, name, aggregates, None),
        lambda history: history.make(decide.update_provider, name, new_name, other, move=True, reparent=True),
        lambda history: history.make(decide.delete_provider, name),
        lambda history: history.make(decide_claims.release, claims[0].consumer_uuid),
        lambda history: history.make(decide_claims.claim, claims),
        lambda history: history.make(decide_reshape.reshape, replanned(history.graph, name, second), claims),
        lambda history: history.make(decide_names.create_trait, "CUSTOM_T"),
        lambda history: history.make(decide_names.delete_trait, "CUSTOM_T"),
        lambda history: history.make(decide_names.create_resource_class, "CUSTOM_C"),
        lambda history: history.make(decide_names.delete_resource_class, "CUSTOM_C"),
    ]
    return chance.choices(steps, weights=[3, 3, 4, 2, 2, 2, 2, 2, 5, 3, 1, 1, 1, 1])[0]


def replanned(graph: Graph, name: str, inventories: dict[str, Inventory]) -> dict[str, NewInventories]:
    node = graph.node(name)
    return {name: NewInventories(node.generation if node else 0, inventories)}


def some_history(seed: int, steps: int) -> History:
    history = History()
    chance = random.Random(seed)
    for _ in range(steps):
        some_step(chance)(history)
    return history


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_a_graph_from_a_listing_is_the_graph_that_grew(seed: int) -> None:
    history = some_history(seed, 80)
    listing = history.listing()
    random.Random(seed).shuffle(listing)
    assert picture(loaded(listing)) == picture(history.graph)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_changes_that_come_twice_do_no_harm(seed: int) -> None:
    history = some_history(seed, 60)
    graph = Graph()
    for applied in history.applied:
        graph.apply(applied)
        graph.apply(applied)
    for applied in history.applied:
        graph.apply(applied)
    assert picture(graph) == picture(history.graph)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_own_changes_may_come_before_those_of_others(seed: int) -> None:
    """A writer applies what it committed at once; then the watch tells everything, in order, that included."""
    history = some_history(seed, 60)
    chance = random.Random(seed)
    graph = Graph()
    delivered = 0
    while delivered < len(history.applied):
        ahead = min(delivered + chance.randint(0, 3), len(history.applied) - 1)
        # A writer has seen the latest of all that its change touches: only changes of other things are skipped.
        touched = history.touched[ahead]
        between = history.applied[delivered:ahead]
        if not any(touched & set(each.documents) for each in between):
            graph.apply(history.applied[ahead])
        for applied in history.applied[delivered : ahead + 1]:
            graph.apply(applied)
        delivered = ahead + 1
        graph.forget_removed(delivered)
    assert picture(graph) == picture(history.graph)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_no_history_claims_more_than_there_is(seed: int) -> None:
    graph = some_history(seed, 120).graph
    for node in graph.providers.values():
        total: dict[str, int] = {}
        for consumer in node.consumers:
            for name, amount in graph.consumers[consumer].document.allocations[node.uuid].items():
                total[name] = total.get(name, 0) + amount
        assert total == node.used
        assert set(total) <= set(node.inventories)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_those_with_room_are_found_and_the_full_are_not(seed: int) -> None:
    graph = some_history(seed, 120).graph
    for node in graph.providers.values():
        assert node.room == {
            name: min(each.capacity - node.used.get(name, 0), each.max_unit) for name, each in node.inventories.items()
        }
    for name in ("VCPU", "CUSTOM_C"):
        for amount in (1, 2, 3, 5, 8):
            found = [node for level in graph.with_room(name, amount) for node in level]
            assert len(found) == len(set(found))
            assert {node for node in graph.all_nodes() if node.room.get(name, 0) >= amount} <= set(found)
            assert all(2 * node.room[name] > amount for node in found)


def test_like_hosts_share_what_they_have_in_common() -> None:
    """20,000 hosts with sixty traits each take a third of the memory that they would take otherwise."""
    graph = Graph()
    for number in range(3):
        document = ProviderDocument(
            uuid=f"rp{number}",
            name=f"host{number}",
            inventories={"VCPU": Inventory(8 if number else 4)},
            traits=tuple(f"CUSTOM_{letter}" for letter in "ABC"),
        )
        graph.apply(Applied(number + 1, {Ref(Kind.PROVIDER, document.uuid): parse_again(document)}))
    one, *others = (graph.providers[f"rp{number}"] for number in range(3))
    assert len({id(node.traits) for node in (one, *others)}) == 1
    assert len({id(node.document.traits) for node in (one, *others)}) == 1
    assert len({id(node.inventories) for node in others}) == len({id(node.capacities) for node in others}) == 1
    assert one.capacities == {"VCPU": 4}


def test_a_provider_that_is_removed_leaves_the_memory_at_once() -> None:
    # Other tests' graphs may be in memory still: this one is nobody else's.
    uuid = "rp-that-goes"
    history = History()
    history.make(decide.create_provider, uuid, "name", None)
    history.make(decide.set_inventories, uuid, {"VCPU": Inventory(6)}, None)
    gc.disable()
    try:
        history.make(decide.delete_provider, uuid)
        assert not [each for each in gc.get_objects() if isinstance(each, Node) and each.uuid == uuid]
    finally:
        gc.enable()


def parse_again(document: ProviderDocument) -> Document:
    return parse(Ref(Kind.PROVIDER, document.uuid), document.to_json())


@given(st.sampled_from([kind for kind in Kind if kind not in (Kind.HEAD, Kind.IMPORT)]), st.text(min_size=1))
def test_keys_are_taken_apart_as_they_were_built(kind: Kind, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    ref = Ref(kind, name)
    assert ref_of(key_of(ref)) == ref
    assert "/" not in key_of(ref).removeprefix(f"/etcdcompute/v1/placement/{kind}/")


def test_a_provider_may_have_no_name() -> None:
    ref = Ref(Kind.NAME, "")
    assert ref_of(key_of(ref)) == ref


@pytest.mark.parametrize("key", ["", "head/x", "providers/", "ponies/x", "providers"])
def test_foreign_keys_are_nobodys(key: str) -> None:
    assert ref_of(f"/etcdcompute/v1/placement/{key}") is None


def test_a_claim_depends_on_what_it_claims_from() -> None:
    graph = graph_of(Host("rp", inventories={"VCPU": Inventory(4)}))
    change = Change()
    decide_claims.claim(graph, change, [Claim("c", {"rp": {"VCPU": 1}}, "p", "u")])
    assert change.expected == {Ref(Kind.GENERATION, "rp"): 1, Ref(Kind.CONSUMER, "c"): 0}
    assert set(change.puts) == {Ref(Kind.GENERATION, "rp"), Ref(Kind.CONSUMER, "c")}


def test_refusals_name_who_is_in_the_way() -> None:
    graph = graph_of(Host("rp", inventories={"VCPU": Inventory(4)}, used={"VCPU": 3}))
    with pytest.raises(ProviderInUse, match="of-rp"):
        decide.delete_provider(graph, Change(), "rp")
    with pytest.raises(CannotAllocate, match="5 of 4"):
        decide_claims.claim(graph, Change(), [Claim("c", {"rp": {"VCPU": 2}}, "p", "u")])


def test_the_memory_journal_refuses_what_was_decided_on_old_news() -> None:
    journal = MemoryJournal()
    graph = Graph()
    deadline = Deadline.after(5)
    first, second = Change(), Change()
    for change in (first, second):
        decide.create_provider(graph, change, "rp", "name", None)
    assert journal.commit(first, deadline) == 1
    with pytest.raises(Stale) as refused:
        journal.commit(second, deadline)
    assert isinstance(refused.value, Conflict)
