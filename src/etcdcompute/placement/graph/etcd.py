"""The journal in etcd: each change one transaction that compares what the decision saw.

The watch delivers every process's transactions in etcd's order, each whole: the head is written last in each, and
the watch says when a set of events is complete. A document that cannot be read is logged, counted and left alone.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, OutcomeUnknown, Unavailable
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
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
from etcdcompute.placement.graph.journal import Sink, Stale

_LOG = logging.getLogger(__name__)
_RETRY_FOLLOWING_S = 1.0
_RETRY_COMMIT_S = 0.1


class EtcdJournal:
    """A journal over a kv client, which it closes in the end."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._closed = threading.Event()
        self._arrivals = _Arrivals()
        # This process's own changes that the watch has not delivered, by revision: a revision is one transaction, so
        # what the watch will say of it is known, and need not be read.
        self._own: dict[int, dict[Ref, Document | None]] = {}

    def commit(self, change: Change, deadline: Deadline) -> int:
        """Carry out the change; a lost answer is looked into until the deadline."""
        compares = [_compare(ref, revision) for ref, revision in change.compared().items()]
        operations: list[Operation] = [Remove(key_of(ref)) for ref in sorted(change.removals)]
        operations += [Write(key_of(ref), document.to_json()) for ref, document in change.documents().items()]
        with self._arrivals.expecting(change.id):
            revision = self._commit(change, compares, operations, deadline)
        # In the order of the operations, which is that of their events.
        self._own[revision] = {**dict.fromkeys(sorted(change.removals)), **change.documents()}
        return revision

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

    def fetch_head(self, deadline: Deadline) -> int:
        """Return the revision of the last change."""
        item = self._client.get(key_of(HEAD), deadline=deadline)
        return item.mod_revision if item else 0

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
        pending: dict[int, dict[Ref, Document | None]] = {}
        for event in events:
            match event:
                case Snapshot():
                    pending.clear()
                    self._forget_own(event.revision)
                    sink.reset(self._read_all(event.items), event.revision)
                    self._arrivals.reset(event.revision)
                    _LOG.info(
                        "read the placement graph at revision %d: %d documents (%s)",
                        event.revision,
                        len(event.items),
                        event.reason,
                    )
                case PutEvent() | DeleteEvent() if event.revision in self._own:
                    pending[event.revision] = self._own[event.revision]
                    if self._arrivals.unreadable:
                        self._arrivals.unreadable.discard(event.item.key if isinstance(event, PutEvent) else event.key)
                case PutEvent():
                    read = self._read(event.item)
                    if read is not None:
                        pending.setdefault(event.revision, {})[read[0]] = read[1]
                case DeleteEvent():
                    ref = ref_of(event.key)
                    self._arrivals.unreadable.discard(event.key)
                    if ref is not None:
                        pending.setdefault(event.revision, {})[ref] = None
                case Progress():
                    self._forget_own(event.revision)
                    sink.advance([Applied(*each) for each in pending.items()], event.revision)
                    self._arrivals.advance(pending, event.revision)
                    pending = {}

    def _forget_own(self, revision: int) -> None:
        # A list: those who commit add to it meanwhile.
        for each in [known for known in list(self._own) if known <= revision]:
            del self._own[each]

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


class _Arrivals:
    """Which changes of this process have come back through the watch, for those whose answers were lost."""

    def __init__(self) -> None:
        self.unreadable: set[str] = set()
        self._condition = threading.Condition()
        self._delivered = 0
        # By change id: the revision at which it came, 0 while it has not, None where the watch may have missed it.
        self._expected: dict[str, int | None] = {}

    def expecting(self, change_id: str) -> "_Expecting":
        return _Expecting(self, change_id)

    def begin(self, change_id: str) -> None:
        with self._condition:
            self._expected[change_id] = 0

    def end(self, change_id: str) -> None:
        with self._condition:
            self._expected.pop(change_id, None)

    def reset(self, revision: int) -> None:
        with self._condition:
            self._delivered = revision
            for change_id, found in self._expected.items():
                if found == 0:
                    self._expected[change_id] = None
            self._condition.notify_all()

    def advance(self, changes: dict[int, dict[Ref, Document | None]], revision: int) -> None:
        with self._condition:
            for at, documents in changes.items():
                head = documents.get(HEAD)
                if isinstance(head, HeadDocument) and head.change in self._expected:
                    self._expected[head.change] = at
            self._delivered = revision
            self._condition.notify_all()

    def find(self, change_id: str, until: int, deadline: Deadline) -> int | None:
        """Return the change's revision once the watch has got to `until`: 0 for never came, None for cannot tell."""
        with self._condition:
            self._condition.wait_for(lambda: self._delivered >= until, timeout=deadline.remaining_s)
            if self._delivered < until:
                return None
            return self._expected.get(change_id)


class _Expecting:
    """Holds a change's id among the expected ones."""

    def __init__(self, arrivals: _Arrivals, change_id: str) -> None:
        self._begin: Callable[[str], None] = arrivals.begin
        self._end: Callable[[str], None] = arrivals.end
        self._change_id = change_id

    def __enter__(self) -> None:
        self._begin(self._change_id)

    def __exit__(self, *_: object) -> None:
        self._end(self._change_id)


def _compare(ref: Ref, revision: int) -> Compare:
    key = key_of(ref)
    return Compare(key, Comparison.UNCHANGED, revision) if revision else Compare.absent(key)
