"""Following the changes: Neo4j tells nobody, so whoever wants to know asks, a few times a second.

The head's lock makes revisions come in the order of the commits, one by one: who has seen a revision has seen all
before it. Asking begins with the first who wants to follow.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, Unavailable
from etcdcompute.model.document import Document
from etcdcompute.placement.graph.change import Applied
from etcdcompute.placement.graph.documents import HEAD, GenerationDocument, HeadDocument, Kind, Ref
from etcdcompute.placement.graph.feed import Feed
from etcdcompute.placement.graph.neo4j.connection import Connection, Work
from etcdcompute.placement.graph.neo4j.deciding import lock_head
from etcdcompute.placement.graph.neo4j.questions import fetch_head
from etcdcompute.placement.graph.neo4j.writing import read_documents

_LOG = logging.getLogger(__name__)
_EVERY_S: Final = 0.25
_ASK_S: Final = 4.0
_AT_ONCE: Final = 100
_CHANGES: Final = """
MATCH (c:PlacementChange) WHERE c.revision > $since
RETURN c.revision AS revision, c.documents AS documents
ORDER BY c.revision LIMIT 100
"""
_GENERATIONS: Final = "MATCH (p:ResourceProvider) RETURN p.uuid AS uuid, p.generation AS generation"


class Follower:
    """Keeps a feed up to date. `ready` makes sure that the database can be asked, or raises."""

    def __init__(self, connection: Connection, ready: Callable[[Deadline], None]) -> None:
        self._connection = connection
        self._ready = ready
        self._feed = Feed()
        self._stop = threading.Event()
        self._news = threading.Event()
        self._condition = threading.Condition()
        self._delivered = -1
        self._thread: threading.Thread | None = None

    def feed(self, deadline: Deadline) -> Feed:
        """Return the feed, with all in it that was written before this call."""
        head = self._connection.read(fetch_head, deadline)
        with self._condition:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="placement-follower", daemon=True)
                self._thread.start()
            self._news.set()
            if not self._condition.wait_for(lambda: self._delivered >= head, timeout=deadline.remaining_s):
                raise Unavailable(f"the stream of changes lags behind: it stands at {self._delivered} of {head}")
        return self._feed

    def tell(self) -> None:
        """Look soon: this process has changed something."""
        self._news.set()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _follow(self) -> None:
        told = ""
        while not self._stop.is_set():
            self._news.clear()
            try:
                deadline = Deadline.after(_ASK_S)
                self._ready(deadline)
                more = self._look(deadline)
                told = ""
            except EtcdComputeError as error:
                more = False
                level = logging.DEBUG if str(error) == told else logging.WARNING
                _LOG.log(level, "cannot follow the placement graph: %s", error)
                told = str(error)
            except Exception:  # noqa: BLE001 - without a follower every stream would wait in vain
                more = False
                _LOG.exception("BUG: following the placement graph failed; starting over")
                self._delivered = -1
            if not more:
                self._news.wait(_EVERY_S)

    def _look(self, deadline: Deadline) -> bool:
        """Take in what is new; return whether there may be more."""
        if self._delivered < 0:
            self._start_over(deadline)
        rows = self._connection.read(lambda work: work.rows(_CHANGES, since=self._delivered), deadline)
        if rows and rows[0]["revision"] != self._delivered + 1:
            # Older ones are dropped: this process was away for long.
            self._start_over(deadline)
            return True
        if not rows and self._connection.read(fetch_head, deadline) < self._delivered:
            _LOG.warning("the graph in Neo4j was exchanged for an older one; starting over")
            self._start_over(deadline)
            return True
        changes = [Applied(row["revision"], _documents(row["documents"])) for row in rows]
        if changes:
            self._feed.add(changes)
            self._deliver(changes[-1].revision)
        return len(rows) == _AT_ONCE

    def _start_over(self, deadline: Deadline) -> None:
        revision, listed = self._connection.write(_list_generations, deadline)
        self._feed.start_over([*listed, (HEAD, HeadDocument(change=""), revision)])
        self._deliver(revision)

    def _deliver(self, revision: int) -> None:
        with self._condition:
            self._delivered = revision
            self._condition.notify_all()


def _list_generations(work: Work) -> tuple[int, list[tuple[Ref, Document, int]]]:
    """Return the generations of all providers at one revision, for which nobody may write meanwhile."""
    revision = lock_head(work)
    return revision, [
        (Ref(Kind.GENERATION, row["uuid"]), GenerationDocument(generation=row["generation"]), revision)
        for row in work.rows(_GENERATIONS)
    ]


def _documents(text: str) -> dict[Ref, Any]:
    return {**read_documents(text), HEAD: HeadDocument(change="")}
