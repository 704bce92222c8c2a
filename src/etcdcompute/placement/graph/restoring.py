"""Restoring a graph from elsewhere: what an import needs of a store, beside what everybody needs.

While the marker of an import stands, nobody else's change is carried out (every change is decided upon there being
none), and nothing is served: the graph is half of what it is going to be. So who imports has the store alone, also
where services run on it, and whoever is interrupted leaves a store that says what it waits for.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from etcdcompute.errors import Conflict, Unavailable
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import HEAD, IMPORT, ImportDocument
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.memory import Graph

CHANGED_MEANWHILE: Final = "the graph has changed since it was looked at: somebody else writes to it; begin again"
ANOTHER_IMPORT: Final = (
    "another import has begun on the same store, or dropped this one, or somebody wrote to it behind placement's back: "
    "let only one run at a time"
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that a store holds, and the import that is under way."""

    snapshot: Snapshot
    importing: ImportDocument | None


class Restores(Protocol):
    """What an import does. All raise Unavailable where the store cannot be reached."""

    def inspect(self) -> Holdings:
        """Return all that is there, also during an import; Unavailable where something of it cannot be read."""

    def fetch_revision(self) -> int:
        """Return the revision of the last change that anybody has made."""

    def begin_import(self, marker: ImportDocument, revision: int) -> None:
        """Put up the marker, in place of one that stands; Conflict where the graph is not at `revision` any more."""

    def import_documents(self, change: Change, run: str) -> None:
        """Put and remove documents as they are, all or none, at most 120 of them and 1 MiB.

        What is put must not be there. Conflict where the marker is not that of `run`.
        """

    def finish_import(self, run: str) -> None:
        """Take the marker down; Conflict where it is not that of `run`."""


def refuse_while_importing(graph: Graph) -> None:
    """Raise Unavailable where an import is under way."""
    if graph.importing is not None:
        refuse(graph.importing[0])


def refuse(marker: ImportDocument | None) -> None:
    """Raise Unavailable where there is the marker of an import."""
    if marker is not None:
        raise Unavailable(
            f"an import of the graph (of what stood at revision {marker.revision} elsewhere) is not finished: run "
            "etcdcompute graph import again with the same file, or drop it with etcdcompute graph import --abandon"
        )


def beginning(graph: Graph, marker: ImportDocument, revision: int) -> Change:
    """Return the change that puts up a marker."""
    change = Change()
    change.expect(HEAD, revision)
    change.expect(IMPORT, graph.importing[1] if graph.importing else 0)
    change.put(IMPORT, marker)
    return change


def belonging(graph: Graph, change: Change, run: str) -> Change:
    """Return the change as one of a run's, which holds only while the run's marker stands."""
    if graph.importing is None or graph.importing[0].run != run:
        raise Conflict(ANOTHER_IMPORT)
    for ref in change.puts:
        change.expect(ref, 0)
    change.expect(IMPORT, graph.importing[1])
    return change
