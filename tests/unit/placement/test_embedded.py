"""The embedded store where news and answers cross."""

import threading
from collections.abc import Callable, Iterator

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.placement.graph import decide, decide_claims
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import HEAD, HeadDocument, Kind, ProviderDocument, Ref
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import ConsumerNotFound, NameTaken, ProviderNotFound
from etcdcompute.placement.graph.freshness import Asked, SharedQuestion
from etcdcompute.placement.graph.journal import MemoryJournal, Sink, Stale
from etcdcompute.placement.graph.records import Claim, Inventory, ProviderFilter
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree


class Meddling(MemoryJournal):
    """A journal between whose commit and its answer somebody else may do something."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Change] = []
        self.behind: list[Change] = []
        self.down = False

    def commit(self, change: Change, deadline: Deadline) -> int:
        if self.down:
            raise Unavailable("down")
        while self.before:
            super().commit(self.before.pop(0), deadline)
        revision = super().commit(change, deadline)
        while self.behind:
            super().commit(self.behind.pop(0), deadline)
        return revision

    def ask_head(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        if self.down:
            raise Unavailable("down")
        return super().ask_head(told, deadline)

    def check(self, deadline: Deadline) -> None:
        if self.down:
            raise Unavailable("down")


@pytest.fixture
def journal() -> Meddling:
    return Meddling()


@pytest.fixture
def store(journal: Meddling) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(journal, request_timeout_s=2)
    store.start()
    store.create_provider("rp", "name", None)
    store.set_inventories("rp", {"VCPU": Inventory(4)}, 0)
    yield store
    store.close()


def removal(*refs: Ref) -> Change:
    change = Change()
    for ref in refs:
        change.remove(ref)
    return change


def test_what_was_undone_before_the_answer_came_stays_undone(journal: Meddling, store: EmbeddedStore) -> None:
    journal.behind.append(removal(Ref(Kind.CONSUMER, "c")))
    store.claim([Claim("c", {"rp": {"VCPU": 1}}, "p", "u")])
    assert store.get_consumer("c")[0] is None
    assert store.get_provider("rp").used == {"VCPU": 0}
    journal.behind.append(
        removal(Ref(Kind.PROVIDER, "other"), Ref(Kind.GENERATION, "other"), Ref(Kind.NAME, "other name"))
    )
    store.create_provider("other", "other name", None)
    with pytest.raises(ProviderNotFound):
        store.get_provider("other")
    store.create_provider("third", "other name", None)


def test_what_changed_before_the_commit_is_decided_again(journal: Meddling, store: EmbeddedStore) -> None:
    store.claim([Claim("c", {"rp": {"VCPU": 1}}, "p", "u")])
    journal.before.append(removal(Ref(Kind.CONSUMER, "c")))
    with pytest.raises(ConsumerNotFound):
        store.release("c")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("claimed_before", [False, True])
def test_a_claim_fails_on_a_provider_that_is_gone_or_another_with_its_uuid(
    journal: Meddling, store: EmbeddedStore, again: bool, claimed_before: bool
) -> None:
    def create() -> None:
        store.declare_trees([Tree((DeclaredProvider("new", "new", None, {"VCPU": Inventory(4)}, (), ()),))])

    create()
    if claimed_before:
        store.claim([Claim("c", {"new": {"VCPU": 1}}, "p", "u")])
        store.release("c")
    late = Change()
    with store.held_still() as graph:
        decide_claims.claim(graph, late, [Claim("late", {"new": {"VCPU": 1}}, "p", "u")])
    store.delete_provider("new")
    if again:
        create()
    with pytest.raises(Stale):
        journal.commit(late, Deadline.after(1))


@pytest.mark.parametrize("first", ["claim", "delete", "resize"])
def test_of_two_that_are_at_a_provider_that_was_just_created_one_decides_again(
    journal: Meddling, store: EmbeddedStore, first: str
) -> None:
    store.declare_trees([Tree((DeclaredProvider("new", "new", None, {"VCPU": Inventory(4)}, (), ()),))])
    changes = {"claim": Change(), "delete": Change(), "resize": Change()}
    with store.held_still() as graph:
        decide_claims.claim(graph, changes["claim"], [Claim("c", {"new": {"VCPU": 1}}, "p", "u")])
        decide.delete_provider(graph, changes["delete"], "new")
        decide.set_inventories(graph, changes["resize"], "new", {"VCPU": Inventory(1)}, None)
    journal.commit(changes.pop(first), Deadline.after(1))
    for late in changes.values():
        with pytest.raises(Stale):
            journal.commit(late, Deadline.after(1))


def test_the_store_being_away_is_told_and_survived(journal: Meddling, store: EmbeddedStore) -> None:
    journal.down = True
    assert store.check_health() == {"store": "down", "graph": "ok"}
    for ask in (
        lambda: store.get_provider("rp"),
        lambda: store.delete_provider("rp"),
        lambda: store.create_provider("rp", "name", None),
    ):
        with pytest.raises(Unavailable):
            ask()
    journal.down = False
    assert store.check_health() == {"store": "ok", "graph": "ok"}
    with pytest.raises(NameTaken):
        store.create_provider("rp", "name", None)
    assert [each.uuid for each in store.list_providers(ProviderFilter())] == ["rp"]


def test_a_graph_that_was_not_read_yet_answers_nothing() -> None:
    class Silent(MemoryJournal):
        def follow(self, sink: Sink, stop: threading.Event) -> None:
            stop.wait()

    store = EmbeddedStore(Silent(), request_timeout_s=0.1)
    store.start()
    try:
        assert "not been read" in store.check_health()["graph"]
        with pytest.raises(Unavailable, match="not been read"):
            store.list_providers(ProviderFilter())
    finally:
        store.close()


def test_following_starts_over_when_it_breaks(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryJournal):
        failed = False

        def follow(self, sink: Sink, stop: threading.Event) -> None:
            if not self.failed:
                self.failed = True
                sink.reset((), 0)
                raise KeyError("a bug")
            super().follow(sink, stop)

    journal = Broken()
    store = EmbeddedStore(journal, request_timeout_s=10)
    store.start()
    try:
        store.create_provider("rp", "name", None)
        while "BUG" not in caplog.text:
            threading.Event().wait(0.01)
    finally:
        store.close()


def test_the_memory_journal_delivers_heads() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.seen: list[Applied] = []

        def reset(self, documents: object, revision: int) -> None:
            pass

        def advance(self, changes: list[Applied], revision: int) -> None:
            self.seen += changes

    journal, recorder, stop = MemoryJournal(), Recorder(), threading.Event()
    stop.set()
    journal.follow(recorder, stop)  # type: ignore[arg-type]
    change = removal()
    journal.commit(change, Deadline.after(1))
    assert recorder.seen[0].documents[HEAD] == HeadDocument(change=change.id)
    stale = Change()
    stale.expect(HEAD, 0)
    with pytest.raises(Stale):
        journal.commit(stale, Deadline.after(1))


class Overtaken:
    """An answer about the head that takes a while, in which somebody else writes."""

    arrived = False

    def __init__(self, journal: MemoryJournal, change: Change) -> None:
        self._journal = journal
        self._change = change

    def result(self) -> int:
        return self._journal.commit(self._change, Deadline.after(5))


def test_what_was_seen_while_the_head_was_asked_for_counts_only_where_nobody_wrote(
    store: EmbeddedStore, journal: Meddling, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Change()
    theirs.put(Ref(Kind.PROVIDER, "new"), ProviderDocument(uuid="new", name="theirs"))

    def ask_head(told: Callable[[], None], deadline: Deadline) -> Asked:
        told()
        return Overtaken(journal, theirs)

    with pytest.raises(ProviderNotFound):
        store.get_provider("new")
    monkeypatch.setattr(store, "_head", SharedQuestion(ask_head))
    assert store.get_provider("new").name == "theirs"


def test_a_refusal_that_was_seen_early_holds_where_nobody_wrote(store: EmbeddedStore) -> None:
    with pytest.raises(ProviderNotFound, match="nowhere"):
        store.get_provider("nowhere")
