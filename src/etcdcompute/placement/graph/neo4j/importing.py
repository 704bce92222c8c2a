"""Imports into Neo4j: the marker is a node, which every change looks for once it has the head's lock.

A read does not look each time, as this would cost it a question to the database: processes look once in a while, and
an import waits for as long before it puts anything there.
"""

import time
from collections.abc import Callable
from typing import Final

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import IMPORT, ImportDocument
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.neo4j.connection import Connection, Work
from etcdcompute.placement.graph.neo4j.deciding import lock_head
from etcdcompute.placement.graph.neo4j.loading import Loaded, load
from etcdcompute.placement.graph.neo4j.questions import read_snapshot
from etcdcompute.placement.graph.neo4j.scope import of_documents
from etcdcompute.placement.graph.neo4j.writing import write
from etcdcompute.placement.graph.restoring import ANOTHER_IMPORT, CHANGED_MEANWHILE, Holdings, refuse

_FIND: Final = """
MATCH (m:PlacementImport)
RETURN m.run AS run, m.checksum AS checksum, m.revision AS revision, m.begun_at AS begun_at
"""
_PUT: Final = """
MERGE (m:PlacementImport {key: 'import'})
SET m.run = $run, m.checksum = $checksum, m.revision = $revision, m.begun_at = $begun_at
"""
_REMOVE: Final = "MATCH (m:PlacementImport) DELETE m"
# How long reads go by what they saw; and for how long an import lets them find out, clocks that are late included.
LOOKED_AT_S: Final = 0.5
SETTLE_S: Final = 1.5


def find_marker(work: Work) -> ImportDocument | None:
    """Return the import that is under way."""
    rows = work.rows(_FIND)
    if not rows:
        return None
    row = rows[0]
    return ImportDocument(run=row["run"], checksum=row["checksum"], revision=row["revision"], begun_at=row["begun_at"])


def take_holdings(work: Work) -> Holdings:
    """Return all there is; nobody writes until the transaction ends."""
    revision = lock_head(work)
    return Holdings(read_snapshot(work, revision), find_marker(work))


class Lookout:
    """Refuses reads during an import, as it stood a moment ago."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._looked_at = float("-inf")
        self._marker: ImportDocument | None = None

    def check(self, deadline: Deadline) -> None:
        """Raise Unavailable where an import is under way."""
        now = self._clock()
        if now - self._looked_at > LOOKED_AT_S:
            self._marker = self._connection.read(find_marker, deadline)
            self._looked_at = now
        refuse(self._marker)


def begin(work: Work, change: Change, marker: ImportDocument, revision: int) -> None:
    """Put up the marker."""
    if lock_head(work) != revision:
        raise Conflict(CHANGED_MEANWHILE)
    change.expect(IMPORT, 1)
    change.put(IMPORT, marker)
    write(work, Loaded(Graph()), change)
    work.run(_PUT, run=marker.run, checksum=marker.checksum, revision=marker.revision, begun_at=marker.begun_at)


def put_documents(work: Work, change: Change, run: str) -> None:
    """Put and remove documents as they are."""
    _check_run(work, run)
    change.expect(IMPORT, 1)
    scope = of_documents([*change.puts, *change.removals])
    loaded = load(work, scope)
    if any(ref.id in loaded.providers or ref.id in loaded.consumers for ref in change.puts):
        raise Conflict(ANOTHER_IMPORT)
    loaded.apply(change)
    write(work, loaded, change)


def finish(work: Work, change: Change, run: str) -> None:
    """Take the marker down."""
    _check_run(work, run)
    change.expect(IMPORT, 1)
    change.remove(IMPORT)
    write(work, Loaded(Graph()), change)
    work.run(_REMOVE)


def _check_run(work: Work, run: str) -> None:
    lock_head(work)
    marker = find_marker(work)
    if marker is None or marker.run != run:
        raise Conflict(ANOTHER_IMPORT)
