"""Changes that come together: they share transactions, and each turns out as if it had been alone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdcompute.deadline import Deadline
from etcdcompute.errors import InvalidInput, Unavailable
from etcdcompute.placement.graph import decide, decide_claims, decide_names
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide_trees import delete_tree
from etcdcompute.placement.graph.documents import Kind, Ref
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import (
    CannotAllocate,
    ConsumerGenerationConflict,
    ConsumerNotFound,
    NameTaken,
    TraitInUse,
)
from etcdcompute.placement.graph.freshness import Asked
from etcdcompute.placement.graph.journal import MemoryJournal, Stale
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Claim, Inventory, ProviderFilter
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree
from etcdcompute.placement.graph.writing import MOST_OPERATIONS, Decision
from tests.functional.waiting import eventually


class Journal(MemoryJournal):
    """Counts commits, and can hold one up, fail one or find one too large."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.held_up = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.faults: list[Callable[[Change], None]] = []

    def commit(self, change: Change, deadline: Deadline) -> int:
        self.begun.set()
        if not self.go_on.is_set():
            self.held_up += 1
            assert self.go_on.wait(10)
        if self.faults:
            self.faults.pop(0)(change)
        self.sizes.append(len(change.puts))
        return super().commit(change, deadline)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def store(journal: Journal) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(journal, request_timeout_s=5)
    store.start()
    store.create_provider("rp", "name", None)
    store.set_inventories("rp", {"VCPU": Inventory(4)}, 0)
    journal.sizes.clear()
    yield store
    store.close()


def claiming(consumer: str, provider: str = "rp", amount: int = 1, generation: int | None = None) -> Decision:
    claim = Claim(consumer, {provider: {"VCPU": amount}}, "p", "u", generation=generation)
    return lambda graph, change: decide_claims.claim(graph, change, [claim])


def releasing(consumer: str) -> Decision:
    return lambda graph, change: decide_claims.release(graph, change, consumer)


def resizing(total: int, provider: str = "rp") -> Decision:
    return lambda graph, change: decide.set_inventories(graph, change, provider, {"VCPU": Inventory(total)}, None)


def creating(uuid: str, name: str) -> Decision:
    return lambda graph, change: decide.create_provider(graph, change, uuid, name, None)


def change(store: EmbeddedStore, *decisions: Decision) -> list[Any]:
    return store._change_all(decisions)


def test_claims_on_one_provider_share_a_transaction_and_never_exceed_it(journal: Journal, store: EmbeddedStore) -> None:
    outcomes = change(store, *(claiming(f"c{number}") for number in range(6)))
    assert outcomes[:4] == [None] * 4
    assert [type(each) for each in outcomes[4:]] == [CannotAllocate, CannotAllocate]
    assert journal.sizes == [5]  # four consumers and one generation
    provider = store.get_provider("rp")
    assert (provider.used, provider.generation) == ({"VCPU": 4}, 1 + 4)
    assert store.get_consumer("c5")[0] is None


def test_those_who_come_during_a_commit_share_the_next(journal: Journal, store: EmbeddedStore) -> None:
    journal.go_on.clear()
    journal.begun.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(store.create_trait, "CUSTOM_FIRST")
        assert journal.begun.wait(5)
        others = [pool.submit(store.create_trait, f"CUSTOM_{number}") for number in range(3)]
        while len(store._writers._waiting) < 3:
            assert not first.done()
        journal.go_on.set()
        assert [each.result() for each in (first, *others)] == [True] * 4
    assert journal.sizes == [1, 3]


def test_a_claim_sees_the_claims_of_its_round(store: EmbeddedStore) -> None:
    outcomes = change(store, claiming("c", amount=4), releasing("c"), claiming("d", amount=4), claiming("e"))
    assert outcomes[:3] == [None] * 3
    assert isinstance(outcomes[3], CannotAllocate)
    assert store.get_consumer("c")[0] is None
    assert store.get_provider("rp").used == {"VCPU": 4}
    # A consumer that goes and comes back in one round is a new one.
    assert change(store, releasing("d"), claiming("d")) == [None, None]
    consumer = store.get_consumer("d")[0]
    assert consumer is not None
    assert consumer.generation == 1


def test_what_meets_another_kind_of_change_waits_for_the_next_round(journal: Journal, store: EmbeddedStore) -> None:
    outcomes = change(store, claiming("a", amount=3), resizing(8), claiming("b", amount=5), releasing("a"))
    assert not any(isinstance(each, Exception) for each in outcomes)
    assert len(journal.sizes) == 2
    assert store.get_provider("rp").used == {"VCPU": 5}
    made = change(
        store, *[lambda g, c, uuid=uuid: decide.create_provider(g, c, uuid, "one name", None) for uuid in "xy"]
    )
    assert made[0].uuid == "x"
    assert isinstance(made[1], NameTaken)


def test_a_refusal_on_an_old_graph_is_decided_again(journal: Journal, store: EmbeddedStore) -> None:
    store.claim([Claim("old", {"rp": {"VCPU": 4}}, "p", "u")])
    behind_our_back = Change()
    behind_our_back.remove(Ref(Kind.CONSUMER, "old"))
    before = journal.ask_head

    def ask_head(told: Callable[[], None], deadline: Deadline) -> Asked:
        if behind_our_back.removals:
            MemoryJournal.commit(journal, behind_our_back, deadline)
            behind_our_back.removals.clear()
        return before(told, deadline)

    journal.ask_head = ask_head  # type: ignore[method-assign]
    store._head = type(store._head)(ask_head)
    assert change(store, claiming("new", amount=4)) == [None]


def test_nobody_is_refused_on_account_of_a_claim_that_was_not_made(journal: Journal, store: EmbeddedStore) -> None:
    def down(_: Change) -> None:
        raise Unavailable("down")

    journal.faults = [down]
    outcomes = change(store, claiming("a", amount=4), claiming("b"))
    assert [type(each) for each in outcomes] == [Unavailable, Unavailable]
    assert store.get_provider("rp").used == {"VCPU": 0}
    assert change(store, claiming("b")) == [None]


def test_a_stale_round_is_decided_again_and_loses_nobody(journal: Journal, store: EmbeddedStore) -> None:
    def stale(_: Change) -> None:
        raise Stale("changed")

    journal.faults = [stale, stale, stale]
    outcomes = change(store, *(claiming(f"c{number}") for number in range(6)))
    assert sum(each is None for each in outcomes) == 4
    assert sum(isinstance(each, CannotAllocate) for each in outcomes) == 2
    assert store.get_provider("rp").used == {"VCPU": 4}


def test_what_is_too_much_together_is_carried_out_one_by_one(journal: Journal, store: EmbeddedStore) -> None:
    def too_large(change: Change) -> None:
        if len(change.puts) > 2:
            raise InvalidInput("too large")

    journal.faults = [too_large] * 20
    assert change(store, *(claiming(f"c{number}") for number in range(3))) == [None] * 3
    assert change(store, releasing("c0"), releasing("c1")) == [None, None]
    huge = Claim("x", {"rp": {"VCPU": 1}}, "p", "u"), Claim("y", {"rp": {"VCPU": 1}}, "p", "u")
    outcomes = change(store, lambda g, c: decide_claims.claim(g, c, huge), claiming("c9"))
    assert isinstance(outcomes[0], InvalidInput)
    assert outcomes[1] is None
    assert store.get_provider("rp").used == {"VCPU": 2}


def test_a_store_that_takes_less_is_soon_asked_for_less(journal: Journal, store: EmbeddedStore) -> None:
    refused = []

    def too_large(change: Change) -> None:
        if len(change.puts) + 1 > MOST_OPERATIONS:
            refused.append(change)
            raise InvalidInput("too large")

    journal.faults = [too_large] * 100
    loaded = change(store, *(creating(f"rp{number}", f"name {number}") for number in range(600)))
    assert [each.uuid for each in loaded] == [f"rp{number}" for number in range(600)]
    # Two rounds are on their way before the first is refused.
    assert len(refused) == 2


def test_the_next_round_of_a_load_is_begun_while_one_is_written(journal: Journal, store: EmbeddedStore) -> None:
    decided: set[int] = set()

    def creating_and_noting(number: int) -> Decision:
        def decide_it(graph: Graph, change: Change) -> object:
            decided.add(number)
            return decide.create_provider(graph, change, f"rp{number}", f"name {number}", None)

        return decide_it

    journal.go_on.clear()
    journal.begun.clear()
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(change, store, *(creating_and_noting(number) for number in range(600)))
        try:
            assert journal.begun.wait(5)
            # A round has room for 255.
            eventually(lambda: len(decided) > 300, "the next to be decided", 5)
            eventually(lambda: journal.held_up == 2, "the next to be begun", 5)
            assert not journal.sizes
        finally:
            journal.go_on.set()
        assert [each.uuid for each in load.result()] == [f"rp{number}" for number in range(600)]
    assert len(journal.sizes) == 4


def test_what_a_load_builds_on_itself_is_carried_out_in_order(store: EmbeddedStore) -> None:
    """Behind a full round: children of what it creates, its names once more, what is there already, what is refused."""
    store.create_trait("CUSTOM_THERE")
    outcomes = change(
        store,
        lambda graph, change: decide_names.create_trait(graph, change, "CUSTOM_THERE"),
        *(creating(f"rp{number}", f"name {number}") for number in range(260)),
        lambda graph, change: decide.create_provider(graph, change, "child", "child", "rp0"),
        creating("another", "name 1"),
        claiming("c", "rp2"),
        *(creating(f"rp{number}", f"name {number}") for number in range(260, 600)),
    )
    assert outcomes[0] is False
    assert outcomes[261].parent_uuid == "rp0"
    assert isinstance(outcomes[262], NameTaken)
    assert isinstance(outcomes[263], CannotAllocate)
    assert store.get_tree("rp0").providers[1].uuid == "child"
    assert [each.uuid for each in outcomes[264:]] == [f"rp{number}" for number in range(260, 600)]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_load_in_which_a_round_turns_out_stale_loses_nothing(
    journal: Journal, store: EmbeddedStore, failing: int
) -> None:
    def stale(_: Change) -> None:
        raise Stale("changed")

    journal.faults = [*[lambda _: None] * failing, stale]
    loaded = change(store, *(creating(f"rp{number}", f"name {number}") for number in range(600)))
    assert [each.uuid for each in loaded] == [f"rp{number}" for number in range(600)]
    assert all(store.get_provider(f"rp{number}").name == f"name {number}" for number in range(600))


def test_a_load_whose_last_change_is_too_much_answers_all(journal: Journal, store: EmbeddedStore) -> None:
    store.create_trait("CUSTOM_THERE")
    claims = [Claim(f"huge{number}", {"rp": {"VCPU": 1}}, "p", "u") for number in range(3)]

    def too_large(change: Change) -> None:
        if Ref(Kind.CONSUMER, "huge0") in change.puts:
            raise InvalidInput("too large")

    journal.faults = [too_large] * 100
    outcomes = change(
        store,
        lambda graph, change: decide_names.create_trait(graph, change, "CUSTOM_THERE"),
        *(creating(f"rp{number}", f"name {number}") for number in range(260)),
        lambda graph, change: decide_claims.claim(graph, change, claims),
    )
    assert outcomes[0] is False
    assert not any(isinstance(each, Exception) for each in outcomes[1:-1])
    assert isinstance(outcomes[-1], InvalidInput)


def test_what_depends_on_everything_waits_for_what_it_has_not_seen(journal: Journal, store: EmbeddedStore) -> None:
    store.create_trait("CUSTOM_T")
    outcomes = change(
        store,
        lambda graph, change: decide.set_traits(graph, change, "rp", ["CUSTOM_T"], None),
        lambda graph, change: decide_names.delete_trait(graph, change, "CUSTOM_T"),
    )
    assert outcomes[0].traits == {"CUSTOM_T"}
    assert isinstance(outcomes[1], TraitInUse)


def test_a_provider_that_goes_with_the_claims_of_its_round_can_come_back(store: EmbeddedStore) -> None:
    tree = Tree((DeclaredProvider("new", "new", None, {"VCPU": Inventory(4)}, (), ()),))
    store.declare_trees([tree])
    outcomes = change(
        store,
        claiming("c", "new"),
        releasing("c"),
        lambda graph, change: decide.delete_provider(graph, change, "new"),
    )
    assert outcomes == [None] * 3
    store.declare_trees([tree])
    assert change(store, claiming("d", "new")) == [None]
    assert store.get_provider("new").generation == 1


def test_a_large_tree_does_not_go_while_something_is_put_below_it(store: EmbeddedStore) -> None:
    providers = [DeclaredProvider("root", "root", None, {}, (), ())]
    providers += [DeclaredProvider(f"n{number}", f"n{number}", "root", {}, (), ()) for number in range(70)]
    store.declare_trees([Tree(tuple(providers))])
    outcomes = change(
        store,
        lambda graph, change: decide.create_provider(graph, change, "child", "child", "n5"),
        lambda graph, change: delete_tree(graph, change, "root"),
    )
    assert outcomes[0].root_uuid == "root"
    assert len(outcomes[1]) == 72
    assert [each.uuid for each in store.list_providers(ProviderFilter())] == ["rp"]


def test_a_bug_in_one_decision_is_its_own(store: EmbeddedStore) -> None:
    def broken(graph: Graph, change: Change) -> None:
        raise ZeroDivisionError

    outcomes = change(store, claiming("a"), broken, claiming("b"))
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], ZeroDivisionError)


def test_who_waits_in_vain_is_told_and_leaves_nothing(journal: Journal, store: EmbeddedStore) -> None:
    journal.go_on.clear()
    journal.begun.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.create_trait, "CUSTOM_FIRST")
        assert journal.begun.wait(5)
        late: list[Decision] = [lambda graph, change: decide_names.create_trait(graph, change, "CUSTOM_LATE")]
        outcome = store._writers.change(late, Deadline.after(0.05))[0]
        assert isinstance(outcome, Unavailable)
        assert "wait" in str(outcome)
        journal.go_on.set()
        assert first.result() is True
    assert store.create_trait("CUSTOM_LATE") is True


STEPS = st.one_of(
    st.builds(claiming, st.sampled_from("abcde"), st.sampled_from(["rp", "rp2"]), st.integers(1, 3), st.just(None)),
    st.builds(
        lambda c, p, n, g: claiming(c, p, n, g),
        st.sampled_from("abcde"),
        st.just("rp"),
        st.integers(1, 3),
        st.integers(1, 2),
    ),
    st.builds(releasing, st.sampled_from("abcde")),
    st.builds(resizing, st.integers(1, 6), st.sampled_from(["rp", "rp2"])),
)


@given(st.lists(st.lists(STEPS, min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_round_is_worth_its_changes_one_by_one(rounds: list[list[Decision]]) -> None:
    """Whatever is carried out together leaves a graph that its documents alone make, within every limit."""
    journal = Journal()
    store = EmbeddedStore(journal, request_timeout_s=5)
    store.start()
    try:
        for uuid in ("rp", "rp2"):
            store.create_provider(uuid, uuid, None)
            store.set_inventories(uuid, {"VCPU": Inventory(5)}, 0)
        for decisions in rounds:
            for outcome in change(store, *decisions):
                assert not isinstance(outcome, Exception) or isinstance(
                    outcome, CannotAllocate | ConsumerNotFound | ConsumerGenerationConflict
                )
        graph = store._graph
        for uuid in ("rp", "rp2"):
            node = graph.providers[uuid]
            claimed = [each.document.allocations.get(uuid, {}).get("VCPU", 0) for each in graph.consumers.values()]
            assert node.used.get("VCPU", 0) == sum(claimed)
            assert node.consumers == {name for name, amount in zip(graph.consumers, claimed, strict=True) if amount}
    finally:
        store.close()
