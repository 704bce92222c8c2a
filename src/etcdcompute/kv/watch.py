"""List, then watch, and go on across everything that can end a watch.

The consumer's thread runs the logic (list, open, resume); a thread of ours does nothing but move one stream's
responses into a bounded queue, so that a slow consumer slows etcd down instead of filling the memory.

What is delivered is always complete up to `position`, a revision whose events have all been handed over. A new
stream begins one behind it, so that nothing is lost, and drops what lies before it, so that nothing comes twice.
Where that cannot be kept (the revision was compacted, the store was exchanged) a Snapshot with a reason starts afresh.
"""

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import Any, Self

import grpc

from etcdcompute.deadline import Deadline
from etcdcompute.errors import AccessDenied, Stopped, Unavailable
from etcdcompute.kv import rpc
from etcdcompute.kv.connection import Connection
from etcdcompute.kv.endpoint import Endpoint
from etcdcompute.kv.errors import Failure, Kind, failure_of
from etcdcompute.kv.listing import list_prefix
from etcdcompute.kv.records import DeleteEvent, Progress, PutEvent, Snapshot, WatchEvent
from etcdcompute.kv.transactions import item, key_bytes, prefix_range
from etcdcompute.model.keys import CLUSTER

log = logging.getLogger(__name__)

# How soon a watch sees that it was told to stop.
_POLL_S = 0.5
_QUEUED_RESPONSES = 16
_BACKOFF_FIRST_S = 0.1
_BACKOFF_MOST_S = 2.0
# How long a watch is quiet before it asks how far etcd is, which also keeps the place to resume from ahead of
# compaction; and how long it then waits for any sign of life.
_PROGRESS_INTERVAL_S = 10.0
_SILENCE_MOST_S = 20.0
# From these versions on a progress that was asked for is in order with the events (etcd's issue 15220). Older ones
# may announce a revision whose events are still on their way, so only their unasked announcements count.
_ORDERED_PROGRESS_34 = (3, 4, 25)
_ORDERED_PROGRESS = (3, 5, 8)
_REFUSALS_MOST = 2


class _Ended(Enum):
    """A stream's last word, where it is not an error."""

    BY_SERVER = auto()


class _Stream:
    """One watch call: its responses come out of `next`, in order, until a Failure."""

    def __init__(self, connection: Connection, name: str, create: Any, stop: threading.Event) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._responses: queue.Queue[Any] = queue.Queue(_QUEUED_RESPONSES)
        self._closed = threading.Event()
        self._connection = connection
        self._requests.put(create)
        self.member: Endpoint
        self.member, self._call, self.token = connection.open_stream(
            rpc.WATCH, iter(self._requests.get, None), connection.deadline(), stop
        )
        try:
            self._pump = connection.start_thread(name, self._move_responses)
        except Stopped:
            self._requests.put(None)
            self._call.cancel()
            raise

    def _move_responses(self) -> None:
        try:
            for response in self._call:
                if not self._hand_over(response):
                    return
            self._hand_over(_Ended.BY_SERVER)
        except grpc.RpcError as error:
            self._hand_over(failure_of(error))
        finally:
            # Ends gRPC's own thread, which waits for more requests.
            self._requests.put(None)
            # Wakes a consumer who would otherwise see later that the client was closed.
            with contextlib.suppress(queue.Full):
                self._responses.put_nowait(_Ended.BY_SERVER)

    def _hand_over(self, response: Any) -> bool:
        while not self._closed.is_set() and not self._connection.closed.is_set():
            with contextlib.suppress(queue.Full):
                self._responses.put(response, timeout=_POLL_S)
                return True
        return False

    def next(self, timeout_s: float) -> Any:
        """Return the next WatchResponse, or None when there is none in time; raise the Failure that ended it."""
        try:
            response = self._responses.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if response is _Ended.BY_SERVER:
            raise Failure(Kind.UNANSWERED, "etcd ended the watch")
        if isinstance(response, Failure):
            raise response
        return response

    def request_progress(self) -> None:
        self._requests.put(rpc.watch_progress())

    def close(self) -> None:
        self._closed.set()
        self._requests.put(None)
        self._call.cancel()
        self._pump.join(timeout=5.0)


class _Reset(Exception):
    """What the consumer knows cannot be continued: it needs a new Snapshot."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Watch(Iterator[WatchEvent]):
    """An endless iterator over what happens below a prefix; it ends when `stop` is set or the client closed.

    Without `from_revision` the first event is a Snapshot; with it, what happened after that revision. Then:
    - events in the order of their revisions, each once, across disconnects and restarts of etcd;
    - a Progress behind each complete set of events (a transaction's events are never cut in two by one), and when
      etcd says that there was nothing new up to some revision;
    - another Snapshot when events may have been missed: what was known before is void.

    It waits for etcd as long as it takes and says so in the log; it raises AccessDenied when etcd refuses the watch to
    a fresh token. One consumer at a time; `close` (or leaving the `with` block) frees what it holds.
    """

    def __init__(
        self, connection: Connection, prefix: str, *, from_revision: int | None, stop: threading.Event
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._stop = stop
        self._position: int | None = from_revision
        self._reason = "first listing"
        self._cluster_id = 0
        self._raft_term = 0
        self._incomplete: list[Any] = []
        self._refusals = 0
        self._failures = 0
        self._events = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the watch; to be called by the consumer's thread."""
        self._events.close()

    # -- the loop over streams -----------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._connection.closed.is_set()

    def _run(self) -> Generator[WatchEvent]:
        while not self._stopped():
            try:
                if self._position is None:
                    listing = list_prefix(self._connection, self._prefix, stop=self._stop)
                    self._position = listing.revision
                    yield Snapshot(listing.revision, listing.items, self._reason)
                yield from self._follow(self._position)
            except _Reset as reset:
                log.info("watch of %s starts afresh: %s", self._prefix, reset.reason)
                self._position, self._reason = None, reset.reason
            except Stopped:
                return
            except (Failure, Unavailable) as failure:
                self._interrupted(failure)

    def _interrupted(self, failure: Failure | Unavailable) -> None:
        """Take note of what ended a stream or a listing, and wait a little; raise what waiting does not help."""
        if isinstance(failure, Failure) and failure.error is not None:
            raise failure.error
        if self._stopped():
            return  # the client was closed, for which nobody waits any more
        self._failures += 1
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        log.log(level, "watch of %s interrupted after revision %s: %s", self._prefix, self._position, failure)
        pause_s = min(_BACKOFF_FIRST_S * 2 ** (self._failures - 1), _BACKOFF_MOST_S)
        until = Deadline.after(pause_s * random.uniform(0.7, 1.3))  # noqa: S311  jitter
        while not until.expired and not self._stopped():
            self._stop.wait(min(_POLL_S, until.remaining_s))

    # -- one stream ----------------------------------------------------------------------------------------------

    def _follow(self, position: int) -> Generator[WatchEvent]:
        start, end = prefix_range(self._prefix)
        create = rpc.watch_create(start, end, position + 1)
        stream = _Stream(self._connection, f"kv-watch-{self._prefix}", create, self._stop)
        self._incomplete = []
        try:
            if (watch_id := self._await_created(stream, position)) is not None:
                yield from self._deliver(stream, watch_id)
        except Failure as failure:
            if failure.kind is Kind.TOKEN:
                self._refused(stream, failure.detail)
            elif failure.error is None and not self._stopped():
                self._connection.failed(stream.member, failure.detail)
            raise
        finally:
            stream.close()

    def _await_created(self, stream: _Stream, position: int) -> int | None:
        """Return the watch's id once etcd has taken it up, None when told to stop before."""
        deadline = self._connection.deadline()
        while not self._stopped():
            response = stream.next(min(_POLL_S, deadline.remaining_s))
            if response is None:
                if deadline.expired:
                    raise Failure(Kind.UNANSWERED, "etcd did not take up the watch in time")
                continue
            if response.canceled:
                self._cancelled(stream, response)
            if response.created:
                self._check_same_store(response.header, position)
                if self._failures:
                    log.info("watch of %s goes on behind revision %d", self._prefix, position)
                self._failures = self._refusals = 0
                return int(response.watch_id)
        return None

    def _check_same_store(self, header: Any, position: int) -> None:
        """Raise a reset when this is not the store that `position` is from (wiped, or restored from a backup)."""
        known_cluster, self._cluster_id = self._cluster_id, int(header.cluster_id)
        if known_cluster not in (0, self._cluster_id):
            self._raft_term = 0
            raise _Reset("etcd is another cluster now")
        if header.revision < position or header.raft_term < self._raft_term:
            # The member may only be behind: a read that asks the leader tells.
            request = rpc.pb.RangeRequest(key=key_bytes(CLUSTER), count_only=True)
            deadline = self._connection.deadline()
            header = self._connection.read(rpc.RANGE, request, deadline, self._stop).header
            if header.revision < position:
                raise _Reset(f"etcd went back from revision {position} to {header.revision}")
            if header.raft_term < self._raft_term:
                self._raft_term = int(header.raft_term)
                raise _Reset("etcd was emptied or restored")
        self._raft_term = max(self._raft_term, int(header.raft_term))

    def _deliver(self, stream: _Stream, watch_id: int) -> Generator[WatchEvent]:
        heard_at = time.monotonic()
        asked = False
        while not self._stopped():
            response = stream.next(_POLL_S)
            if response is not None:
                yield from self._digest(stream, response, watch_id)
                heard_at, asked = time.monotonic(), False
            elif not asked and time.monotonic() - heard_at > _PROGRESS_INTERVAL_S:
                stream.request_progress()
                asked = True
            elif time.monotonic() - heard_at > _SILENCE_MOST_S:
                raise Failure(Kind.UNANSWERED, f"no sign of life for {_SILENCE_MOST_S:.0f} s")

    def _digest(self, stream: _Stream, response: Any, watch_id: int) -> Generator[WatchEvent]:
        if response.canceled:
            self._cancelled(stream, response)
        elif response.events:
            yield from self._new_events(response)
        elif response.watch_id == watch_id or _orders_requested_progress(stream.member.version):
            revision = int(response.header.revision)
            if not self._incomplete and self._position is not None and revision > self._position:
                self._position = revision
                yield Progress(revision)

    def _new_events(self, response: Any) -> Generator[WatchEvent]:
        position = self._position or 0
        events = self._incomplete + [event for event in response.events if event.kv.mod_revision > position]
        self._incomplete = []
        if events and response.fragment:
            # The last revision may go on in the next fragment.
            last = events[-1].kv.mod_revision
            self._incomplete = [event for event in events if event.kv.mod_revision == last]
            events = events[: -len(self._incomplete)]
        for event in events:
            if self._stopped():
                return
            yield _event(event)
        if events:
            self._position = int(events[-1].kv.mod_revision)
            yield Progress(self._position)

    def _cancelled(self, stream: _Stream, response: Any) -> None:
        """Raise what a cancellation by the server means."""
        reason = str(response.cancel_reason)
        if response.compact_revision:
            raise _Reset(f"revisions before {response.compact_revision} were compacted")
        # etcd tells a refused watch by id -1, and an expired token from missing permission not at all.
        if response.watch_id == -1 or "permission denied" in reason or "auth token" in reason:
            self._refused(stream, reason or "the watch was refused")
        raise Failure(Kind.UNANSWERED, f"etcd cancelled the watch: {reason or 'without a reason'}")

    def _refused(self, stream: _Stream, reason: str) -> None:
        self._refusals += 1
        if not self._connection.token_refused(stream.token) or self._refusals > _REFUSALS_MOST:
            raise AccessDenied(f"etcd refuses to let {self._prefix} be watched: {reason}")


def _event(event: Any) -> PutEvent | DeleteEvent:
    kv = event.kv
    if event.type == rpc.EVENT_DELETE:
        return DeleteEvent(kv.mod_revision, rpc.decode_key(kv.key))
    read = item(kv)
    return PutEvent(read.mod_revision, read)


def _orders_requested_progress(version: tuple[int, ...]) -> bool:
    return version >= _ORDERED_PROGRESS or _ORDERED_PROGRESS_34 <= version < (3, 5)
