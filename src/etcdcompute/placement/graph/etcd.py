"""The journal in etcd: each change one transaction that compares what the decision saw.

The watch delivers every process's transactions in etcd's order, each whole: the head is written last in each, and
the watch says when a set of events is complete. A document that cannot be read is logged, counted and left alone.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, OutcomeUnknown, Unavailable
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
from etcdcompute.kv.connection import BegunRead
from etcdcompute.kv.records import (
    Committed,
    Compare,
    Comparison,
    DeleteEvent,
    Item,
    Operation,
    Progress,
    PutEvent,
    Remove,
    Snapshot,
    WatchEvent,
    Write,
)
from etcdcompute.model import keys
from etcdcompute.model.document import Document, DocumentError
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import HEAD, HeadDocument, Ref, key_of, parse, ref_of
from etcdcompute.placement.graph.freshness import Asked
from etcdcompute.placement.graph.journal import Sink, Stale

_LOG = logging.getLogger(__name__)
_RETRY_FOLLOWING_S = 1.0
_RETRY_COMMIT_S = 0.1
_HEAD_KEY = key_of(HEAD)


class EtcdJournal:
    """A journal over a kv client, which it closes in the end."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._closed = threading.Event()
        self._arrivals = _Arrivals()

    def commit(self, change: Change, deadline: Deadline) -> int:
        """Carry out the change; a lost answer is looked into until the deadline."""
        compares = [_compare(ref, revision) for ref, revision in change.compared().items()]
        operations: list[Operation] = [Remove(key_of(ref)) for ref in sorted(change.removals)]
        documents = change.documents()
        operations += [Write(key_of(ref), document.to_json()) for ref, document in documents.items()]
        # In the order of the operations, which is that of their events.
        with self._arrivals.expecting(change.id, {**dict.fromkeys(sorted(change.removals)), **documents}) as expected:
            expected.committed_at = self._commit(change, compares, operations, deadline)
        return expected.committed_at

    def _commit(self, change: Change, compares: list[Compare], operations: list[Operation], deadline: Deadline) -> int:
        lost: OutcomeUnknown | None = None
        while True:
            try:
                outcome = self._client.commit(compares, operations, deadline=deadline)
            except OutcomeUnknown as error:
                # Sending it again is safe: every change rewrites something that it compares, so it holds only once.
                lost = error
            except Unavailable:
                if lost is None:
                    raise
            else:
                if isinstance(outcome, Committed):
                    failpoint("placement.committed")
                    return outcome.revision
                if lost is None:
                    raise Stale("what the decision was made on has changed")
                return self._find_out(change, deadline, lost)
            if deadline.expired or self._closed.wait(min(_RETRY_COMMIT_S, deadline.remaining_s)):
                raise lost

    def _find_out(self, change: Change, deadline: Deadline, lost: OutcomeUnknown) -> int:
        """Return the revision of a change whose answer was lost; Stale where it was not carried out, and never will."""
        try:
            head = self.fetch_head(deadline)
        except Unavailable:
            raise lost from None
        found = self._arrivals.find(change.id, head, deadline)
        if found is None:
            raise lost
        if found == 0:
            raise Stale("what the decision was made on has changed")
        return found

    def ask_head(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        """Ask for the revision of the last change."""
        return _AskedHead(self._client.begin_get(_HEAD_KEY, told, deadline=deadline))

    def fetch_head(self, deadline: Deadline) -> int:
        """Return the revision of the last change."""
        return _revision_of(self._client.get(_HEAD_KEY, deadline=deadline))

    def check(self, deadline: Deadline) -> None:
        """Raise where etcd does not answer, or documents cannot be read."""
        self.fetch_head(deadline)
        unreadable = self._arrivals.unreadable
        if unreadable:
            raise Unavailable(f"{len(unreadable)} documents cannot be read, among them {min(unreadable)}")

    def close(self) -> None:
        """Close the client."""
        self._closed.set()
        self._client.close()

    def follow(self, sink: Sink, stop: threading.Event) -> None:
        """Watch, whatever happens to etcd."""
        told = ""
        while not stop.is_set():
            try:
                with closing(self._client.watch(keys.PLACEMENT, stop=stop)) as watch:
                    self._deliver(watch, sink)
            except EtcdComputeError as error:
                if stop.is_set() or self._closed.is_set():
                    return
                level = logging.DEBUG if str(error) == told else logging.WARNING
                _LOG.log(level, "cannot follow the placement graph in etcd: %s", error)
                told = str(error)
            stop.wait(_RETRY_FOLLOWING_S)

    def _deliver(self, events: Iterator[WatchEvent], sink: Sink) -> None:
        pending: dict[int, list[PutEvent | DeleteEvent]] = {}
        for event in events:
            match event:
                case Snapshot():
                    pending.clear()
                    sink.reset(self._read_all(event.items), event.revision)
                    self._arrivals.reset(event.revision)
                    _LOG.info(
                        "read the placement graph at revision %d: %d documents (%s)",
                        event.revision,
                        len(event.items),
                        event.reason,
                    )
                case PutEvent() | DeleteEvent():
                    pending.setdefault(event.revision, []).append(event)
                case Progress():
                    changes = {revision: self._changed(arrived) for revision, arrived in pending.items()}
                    sink.advance([Applied(*each) for each in changes.items()], event.revision)
                    self._arrivals.advance(changes, event.revision)
                    pending = {}

    def _changed(self, events: Sequence[PutEvent | DeleteEvent]) -> dict[Ref, Document | None]:
        """Return what a transaction made of its documents; what this process wrote is known and need not be read."""
        last = events[-1]
        head = self._read(last.item) if isinstance(last, PutEvent) and last.item.key == _HEAD_KEY else None
        if head is not None and isinstance(head[1], HeadDocument):
            own = self._arrivals.documents_of(head[1].change)
            if own is not None:
                if self._arrivals.unreadable:
                    self._arrivals.unreadable.difference_update(map(key_of, own))
                return own
        documents: dict[Ref, Document | None] = {}
        for event in events if head is None else events[:-1]:
            match event:
                case PutEvent():
                    read = self._read(event.item)
                    if read is not None:
                        documents[read[0]] = read[1]
                case DeleteEvent():
                    ref = ref_of(event.key)
                    self._arrivals.unreadable.discard(event.key)
                    if ref is not None:
                        documents[ref] = None
        if head is not None:
            documents[head[0]] = head[1]
        return documents

    def _read_all(self, items: tuple[Item, ...]) -> Iterator[tuple[Ref, Document, int]]:
        self._arrivals.unreadable.clear()
        for item in items:
            read = self._read(item)
            if read is not None:
                yield read

    def _read(self, item: Item) -> tuple[Ref, Document, int] | None:
        ref = ref_of(item.key)
        if ref is None:
            _LOG.warning("etcd's key %s is none of the placement graph's; left alone", item.key)
            return None
        try:
            document = parse(ref, item.value)
        except DocumentError as error:
            _LOG.error("etcd's key %s cannot be read; left alone: %s", item.key, error)
            self._arrivals.unreadable.add(item.key)
            return None
        self._arrivals.unreadable.discard(item.key)
        return ref, document, item.mod_revision


@dataclass(frozen=True, slots=True)
class _AskedHead:
    asked: BegunRead[Item | None]

    @property
    def arrived(self) -> bool:
        return self.asked.arrived

    def result(self) -> int:
        return _revision_of(self.asked.result())


@dataclass(slots=True)
class _Expected:
    """A change of this process that etcd, or the watch, has yet to tell of."""

    documents: dict[Ref, Document | None]
    # As etcd's answer says; 0 before that.
    committed_at: int = 0
    # As the watch says; 0 while it has not come, None where the watch may have missed it.
    found_at: int | None = 0


class _Arrivals:
    """Which changes of this process are on their way: for who reads the watch, and where an answer was lost."""

    def __init__(self) -> None:
        self.unreadable: set[str] = set()
        self._condition = threading.Condition()
        self._delivered = 0
        # By change id.
        self._expected: dict[str, _Expected] = {}

    @contextmanager
    def expecting(self, change_id: str, documents: dict[Ref, Document | None]) -> Iterator[_Expected]:
        """Expect a change as long as it may come; whoever commits it notes the revision that it got."""
        expected = _Expected(documents)
        with self._condition:
            self._expected[change_id] = expected
        try:
            yield expected
        finally:
            with self._condition:
                if expected.committed_at <= self._delivered:
                    self._expected.pop(change_id, None)

    def documents_of(self, change_id: str) -> dict[Ref, Document | None] | None:
        """Return what a change of this process wrote, None where it is not one of those."""
        with self._condition:
            expected = self._expected.get(change_id)
        return None if expected is None else expected.documents

    def reset(self, revision: int) -> None:
        with self._condition:
            for expected in self._expected.values():
                if expected.found_at == 0:
                    expected.found_at = None
            self._advance(revision)

    def advance(self, changes: dict[int, dict[Ref, Document | None]], revision: int) -> None:
        with self._condition:
            for at, documents in changes.items():
                head = documents.get(HEAD)
                if isinstance(head, HeadDocument) and head.change in self._expected:
                    self._expected[head.change].found_at = at
            self._advance(revision)

    def _advance(self, revision: int) -> None:
        self._delivered = revision
        for change_id in [each for each, it in self._expected.items() if 0 < it.committed_at <= revision]:
            del self._expected[change_id]
        self._condition.notify_all()

    def find(self, change_id: str, until: int, deadline: Deadline) -> int | None:
        """Return the change's revision once the watch has got to `until`: 0 for never came, None for cannot tell."""
        with self._condition:
            self._condition.wait_for(lambda: self._delivered >= until, timeout=deadline.remaining_s)
            if self._delivered < until:
                return None
            return self._expected[change_id].found_at


def _revision_of(head: Item | None) -> int:
    return head.mod_revision if head else 0


def _compare(ref: Ref, revision: int) -> Compare:
    key = key_of(ref)
    return Compare(key, Comparison.UNCHANGED, revision) if revision else Compare.absent(key)
