"""A change of the graph: which documents it was decided upon, and which it writes and removes, all or nothing."""

import itertools
import uuid
from collections.abc import Set
from dataclasses import dataclass, field

from etcdcompute.model.document import Document
from etcdcompute.placement.graph.documents import HEAD, IMPORT, HeadDocument, Ref

# A change's id is this process's own number and the change's; a uuid for each would cost more than its decision.
_PROCESS = uuid.uuid4().hex
_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class Change:
    """Built by a decision, carried out by a journal.

    `expected` holds the revision at which the decision saw each document it depends on, 0 for one that it saw absent.
    """

    expected: dict[Ref, int] = field(default_factory=dict)
    puts: dict[Ref, Document] = field(default_factory=dict)
    removals: set[Ref] = field(default_factory=set)
    id: str = field(default_factory=lambda: f"{_PROCESS}-{next(_NUMBERS)}")

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not self.puts and not self.removals

    def expect(self, ref: Ref, revision: int) -> None:
        """Depend on a document being as it was seen."""
        self.expected[ref] = revision

    def put(self, ref: Ref, document: Document) -> None:
        """Write a document."""
        self.puts[ref] = document
        self.removals.discard(ref)

    def remove(self, ref: Ref) -> None:
        """Remove a document."""
        self.puts.pop(ref, None)
        self.removals.add(ref)

    def leaves_alone(self, refs: Set[Ref]) -> bool:
        """Return whether it neither writes nor removes any of these."""
        return refs.isdisjoint(self.puts) and refs.isdisjoint(self.removals)

    def join(self, other: "Change") -> None:
        """Do also what another change does, which was decided with this one in mind.

        What both depend on is as this one saw it first: what it writes itself has not got its new revision yet.
        """
        for ref, revision in other.expected.items():
            self.expected.setdefault(ref, revision)
        self.puts.update(other.puts)
        self.removals.difference_update(other.puts)
        for ref in other.removals:
            self.remove(ref)

    def compared(self) -> dict[Ref, int]:
        """Return what must be as it was seen; no import may be under way, unless the change is that import's own."""
        return {IMPORT: 0, **self.expected}

    def clear(self) -> None:
        """Forget everything but the id: it is decided again."""
        self.expected.clear()
        self.puts.clear()
        self.removals.clear()

    def documents(self) -> dict[Ref, Document]:
        """Return what is written, the head last."""
        return {**self.puts, HEAD: HeadDocument(change=self.id)}


@dataclass(frozen=True, slots=True)
class Applied:
    """A committed transaction as it reaches the graph: what each touched document is now, None for removed."""

    revision: int
    documents: dict[Ref, Document | None]
