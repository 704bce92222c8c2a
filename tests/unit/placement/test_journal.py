"""The journal in etcd when answers are lost: a change is carried out once, and what became of it is found out."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import OutcomeUnknown, Unavailable
from etcdcompute.kv.records import (
    Committed,
    Compare,
    Comparison,
    DeleteEvent,
    Item,
    Operation,
    Progress,
    PutEvent,
    Rejected,
    Remove,
    Snapshot,
    WatchEvent,
    Write,
)
from etcdcompute.model.document import Document
from etcdcompute.placement.graph import decide
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import HEAD, Kind, Ref
from etcdcompute.placement.graph.etcd import EtcdJournal
from etcdcompute.placement.graph.journal import Stale
from etcdcompute.placement.graph.memory import Graph
from tests.functional.waiting import eventually

LOST_BEFORE, LOST_BEHIND, DOWN = "lost before it was carried out", "lost behind it", "down"


class FakeClient:
    """An etcd of a few lines, some of whose answers get lost as told."""

    def __init__(self, *faults: str) -> None:
        self.items: dict[str, Item] = {}
        self.revision = 1
        self.faults = list(faults)
        self.commits = 0
        self._events: list[WatchEvent] = []
        self._changed = threading.Condition()
        self._silent = False

    def commit(
        self, compares: Iterable[Compare], operations: Iterable[Operation], *, deadline: Deadline
    ) -> Committed | Rejected:
        fault = self.faults.pop(0) if self.faults else ""
        self.commits += 1
        if fault == DOWN:
            raise Unavailable("etcd is down")
        if fault == LOST_BEFORE:
            raise OutcomeUnknown("the answer was lost")
        outcome = self._carry_out(list(compares), list(operations))
        if fault == LOST_BEHIND:
            raise OutcomeUnknown("the answer was lost")
        return outcome

    def _carry_out(self, compares: list[Compare], operations: list[Operation]) -> Committed | Rejected:
        with self._changed:
            for compare in compares:
                item = self.items.get(compare.key)
                if compare.comparison is Comparison.ABSENT and item is not None:
                    return Rejected(self.revision)
                if compare.comparison is Comparison.UNCHANGED and (
                    item is None or item.mod_revision != compare.mod_revision
                ):
                    return Rejected(self.revision)
            self.revision += 1
            for operation in operations:
                if isinstance(operation, Write):
                    item = Item(operation.key, operation.value, self.revision, self.revision, 1)
                    self.items[operation.key] = item
                    self._events.append(PutEvent(self.revision, item))
                elif isinstance(operation, Remove) and operation.key in self.items:
                    del self.items[operation.key]
                    self._events.append(DeleteEvent(self.revision, operation.key))
            self._events.append(Progress(self.revision))
            self._changed.notify_all()
            return Committed(self.revision)

    def get(self, key: str, *, deadline: Deadline) -> Item | None:
        return self.items.get(key)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Have the watch say nothing meanwhile."""
        self._silent = True
        yield
        with self._changed:
            self._silent = False
            self._changed.notify_all()

    def watch(self, prefix: str, *, stop: threading.Event) -> "FakeWatch":
        return FakeWatch(self._follow(stop))

    def _follow(self, stop: threading.Event) -> Iterator[WatchEvent]:
        with self._changed:
            position = len(self._events)
            yield Snapshot(self.revision, tuple(self.items.values()), "first")
        while not stop.is_set():
            with self._changed:
                self._changed.wait_for(partial(self._has_more, position), timeout=0.05)
                until = position if self._silent else len(self._events)
                new, position = self._events[position:until], until
            yield from new

    def _has_more(self, position: int) -> bool:
        return len(self._events) > position

    def close(self) -> None:
        pass


class FakeWatch(Iterator[WatchEvent]):
    def __init__(self, events: Iterator[WatchEvent]) -> None:
        self._events = events

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def close(self) -> None:
        pass


class Recorder:
    def __init__(self) -> None:
        self.graph = Graph()
        self.ready = threading.Event()
        self.batches: list[list[Applied]] = []

    def reset(self, documents: Iterable[tuple[Ref, Document, int]], revision: int) -> None:
        self.graph = Graph()
        self.graph.load(documents)
        self.ready.set()

    def advance(self, changes: Iterable[Applied], revision: int) -> None:
        batch = list(changes)
        self.batches.append(batch)
        for applied in batch:
            self.graph.apply(applied)


class Following:
    """A journal with somebody who follows it."""

    def __init__(self, *faults: str) -> None:
        self.client = FakeClient(*faults)
        self.journal = EtcdJournal(self.client)  # type: ignore[arg-type]
        self.recorder = Recorder()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.journal.follow, args=(self.recorder, self._stop))

    def __enter__(self) -> "Following":
        self._thread.start()
        assert self.recorder.ready.wait(5)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self.journal.close()
        self._thread.join(5)


def creation(name: str = "rp") -> Change:
    change = Change()
    decide.create_provider(Graph(), change, name, f"name of {name}", None)
    return change


def test_a_change_reaches_whoever_follows_as_one() -> None:
    with Following() as following:
        revision = following.journal.commit(creation(), Deadline.after(5))
        assert following.journal.fetch_head(Deadline.after(5)) == revision
        following.client.commit([], [Write("/etcdcompute/v1/placement/ponies", b"")], deadline=Deadline.after(5))
    applied = following.recorder.batches[0][0]
    assert applied.revision == revision
    assert set(applied.documents) == {Ref(Kind.PROVIDER, "rp"), Ref(Kind.NAME, "name of rp"), HEAD}
    assert following.recorder.graph.providers["rp"].name == "name of rp"


@pytest.mark.parametrize("first", ["the answer", "the watch"])
def test_what_this_process_wrote_is_not_read_again(first: str) -> None:
    change = creation()
    with Following() as following:
        original = following.client.commit

        def told_first(*arguments: Any, **named: Any) -> Committed | Rejected:
            outcome = original(*arguments, **named)
            eventually(lambda: following.recorder.batches, "the watch to tell", 5)
            return outcome

        if first == "the watch":
            following.client.commit = told_first  # type: ignore[method-assign]
            following.journal.commit(change, Deadline.after(5))
        else:
            with following.client.held_back():
                following.journal.commit(change, Deadline.after(5))
        eventually(lambda: following.recorder.batches, "the watch to tell", 5)
        applied = following.recorder.batches[0][0]
        assert all(applied.documents[ref] is document for ref, document in change.puts.items())
        assert not following.journal._arrivals._expected


@pytest.mark.parametrize("faults", [[LOST_BEHIND], [LOST_BEFORE], [LOST_BEFORE, LOST_BEHIND], [LOST_BEHIND, DOWN]])
def test_a_lost_answer_is_found_out(faults: list[str]) -> None:
    with Following(*faults) as following:
        assert following.journal.commit(creation(), Deadline.after(5)) == 2
        assert following.client.revision == 2
        assert following.client.commits == len(faults) + 1


def test_a_lost_request_that_somebody_overtook_is_stale() -> None:
    with Following(LOST_BEFORE) as following:
        original = following.client.commit

        def overtaken(*arguments: Any, **named: Any) -> Committed | Rejected:
            try:
                return original(*arguments, **named)
            except OutcomeUnknown:
                following.journal.commit(creation(), Deadline.after(5))
                raise

        following.client.commit = overtaken  # type: ignore[method-assign]
        with pytest.raises(Stale):
            following.journal.commit(creation(), Deadline.after(5))


def test_what_cannot_be_found_out_is_said() -> None:
    with Following(LOST_BEHIND, *([DOWN] * 100)) as following, pytest.raises(OutcomeUnknown):
        following.journal.commit(creation(), Deadline.after(0.3))


def test_what_was_never_sent_is_only_unavailable() -> None:
    with Following(DOWN) as following, pytest.raises(Unavailable):
        following.journal.commit(creation(), Deadline.after(5))


def test_documents_of_another_version_are_left_alone_and_told() -> None:
    with Following() as following:
        key = "/etcdcompute/v1/placement/providers/x"
        following.client.commit([], [Write(key, b'{"schema":2}')], deadline=Deadline.after(5))
        following.journal.commit(creation(), Deadline.after(5))
        while not following.recorder.graph.providers:
            threading.Event().wait(0.01)
        with pytest.raises(Unavailable, match=key):
            following.journal.check(Deadline.after(5))
        assert set(following.recorder.graph.providers) == {"rp"}
