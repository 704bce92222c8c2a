"""Where changes are made durable and in which order: the one thing that differs between memory:// and etcd://.

commit(change) -> revision      all or nothing; Stale where a document is not as it was expected
ask_head(told) -> asked         for the revision of the last change anybody made (linearizable); `told` when it is there
follow(sink, stop)              hands everybody's changes to the sink, in order, from a whole listing on
"""

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict
from etcdcompute.model.document import Document
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import HEAD, Ref
from etcdcompute.placement.graph.freshness import Asked


class Stale(Conflict):
    """A document has changed since the decision saw it; nothing was written: look again and decide again."""


class Sink(Protocol):
    """Who takes in what a journal delivers."""

    def reset(self, documents: Iterable[tuple[Ref, Document, int]], revision: int) -> None:
        """Start over from a whole listing as it stood at `revision`."""

    def advance(self, changes: Iterable[Applied], revision: int) -> None:
        """Take in changes; everything up to and including `revision` has now been delivered."""


class Journal(Protocol):
    """Durable, ordered changes."""

    def commit(self, change: Change, deadline: Deadline) -> int:
        """Carry out the change and return its revision. Raises Stale, Unavailable, OutcomeUnknown."""

    def ask_head(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        """Ask for the revision of the last change that anybody had made when this was called, or of a later one.

        `told` is called, by any thread, when there is no more to wait for.
        """

    def follow(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver to the sink until `stop` is set; survives the store's absence."""

    def check(self, deadline: Deadline) -> None:
        """Raise Unavailable, saying why, where the store does not answer."""

    def close(self) -> None:
        """Let go of connections."""


class _Known:
    """A revision that nobody has to wait for."""

    arrived = True

    def __init__(self, revision: int) -> None:
        self._revision = revision

    def result(self) -> int:
        return self._revision


class MemoryJournal:
    """A journal that forgets everything with the process: same rules, no etcd."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revisions: dict[Ref, int] = {}
        self._revision = 0
        self._sink: Sink | None = None

    def commit(self, change: Change, deadline: Deadline) -> int:  # noqa: ARG002 - nothing here can take time
        """Carry out the change, and deliver it at once."""
        with self._lock:
            for ref, revision in change.compared().items():
                if self._revisions.get(ref, 0) != revision:
                    raise Stale(f"{ref.kind}/{ref.id} has changed")
            self._revision += 1
            for ref in (*change.puts, HEAD):
                self._revisions[ref] = self._revision
            for ref in change.removals:
                self._revisions.pop(ref, None)
            if self._sink is not None:
                documents = {**change.documents(), **dict.fromkeys(change.removals)}
                self._sink.advance([Applied(self._revision, documents)], self._revision)
            return self._revision

    def ask_head(self, told: Callable[[], None], deadline: Deadline) -> Asked:  # noqa: ARG002
        """Tell the last revision at once."""
        told()
        return _Known(self._revision)

    def follow(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver an empty listing: there is nobody else to follow."""
        with self._lock:
            sink.reset((), 0)
            self._sink = sink
        stop.wait()

    def check(self, deadline: Deadline) -> None:
        """Do nothing: memory answers."""

    def close(self) -> None:
        """Do nothing."""
