"""What has changed lately, in order, for those who follow the graph: each transaction once, as JSON.

The feed remembers as many changes as fit into its size. Readers keep nothing but the revision they have got to; one
that was too slow, or away for too long, is told that what it asks for is no longer known. Whoever has the graph as it
stood at a revision (an export) and applies all changes after it has the graph as it stands.

Changes are written as JSON when somebody reads: most services have no followers, and a load is not to wait for it.

A change holds, as far as there is something of it:

    {"revision": 7,
     "providers": {"created": [PROVIDER], "changed": [PROVIDER or {"uuid": …, "generation": …}], "removed": [UUID]},
     "consumers": {"created": [CONSUMER], "changed": [CONSUMER], "removed": [UUID]},
     "traits": {"created": [NAME], "removed": [NAME]},
     "resource_classes": {"created": [NAME], "removed": [NAME]}}

A provider that was only claimed from is shown by its new generation alone.
"""

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from etcdcompute.model.document import Document
from etcdcompute.placement.graph.change import Applied
from etcdcompute.placement.graph.documents import (
    ConsumerDocument,
    GenerationDocument,
    Kind,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.export import encode, show_consumer, show_provider

MAX_BYTES: Final = 8 * 1024 * 1024
# What Python spends on a remembered change beside its JSON.
_OVERHEAD_BYTES: Final = 150
# How many documents of changes wait to be written as JSON, for who may begin to follow; some 8 MiB of it.
_MOST_WAITING: Final = 45_000
_GROUPS: Final = {Kind.CONSUMER: "consumers", Kind.TRAIT: "traits", Kind.RESOURCE_CLASS: "resource_classes"}


class Change(NamedTuple):
    """One transaction: its revision and what it changed, as JSON on one line."""

    revision: int
    data: bytes


class Feed:
    """The last changes. Thread-safe: one thread writes, any read."""

    def __init__(self, most_bytes: int = MAX_BYTES, most_waiting: int = _MOST_WAITING) -> None:
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        # By number, the oldest first.
        self._changes: dict[int, Change] = {}
        self._first = 0
        self._next = 0
        self._bytes = 0
        # What came after those, as it came.
        self._waiting: deque[Applied] = deque()
        self._waiting_documents = 0
        # All changes after this revision are remembered.
        self._floor = -1
        self._latest = -1
        # As they were before what is waiting.
        self._generations: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def latest(self) -> int:
        """The revision of the last change, -1 before the graph was read."""
        return self._latest

    def read(self, after: int, most_bytes: int) -> list[Change] | None:
        """Return the changes after a revision, at least one if there is any; None where they are no longer known."""
        if after != self._latest:
            self.catch_up()
        with self._lock:
            if not self._floor <= after <= self._latest:
                return None
            number = self._first + bisect_right(
                range(self._first, self._next), after, key=lambda each: self._changes[each].revision
            )
            found: list[Change] = []
            size = 0
            while number < self._next and size < most_bytes:
                change = self._changes[number]
                found.append(change)
                size += len(change.data)
                number += 1
            return found

    def catch_up(self) -> None:
        """Write down what waits for a reader, which after long without one may take a moment."""
        # One at a time: whoever changes the graph waits for the lock.
        while self._waiting:
            with self._lock:
                if self._waiting:
                    self._write_next()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function, which must be quick, whenever something is new; from the thread that follows."""
        self._listeners.append(listener)

    # How it is written

    def start_over(self, documents: Iterable[tuple[Ref, Document, int]]) -> None:
        """Go on from a whole listing; what happened since the last change is unknown, unless that is still the last."""
        generations = {}
        head = 0
        for ref, document, revision in documents:
            if ref.kind is Kind.HEAD:
                head = revision
            elif isinstance(document, GenerationDocument):
                generations[ref.id] = document.generation
            elif ref.kind is Kind.PROVIDER:
                generations.setdefault(ref.id, 0)
        with self._lock:
            if head == self._latest:
                while self._waiting:
                    self._write_next()
            else:
                self._waiting.clear()
                self._waiting_documents = 0
                self._latest = head
                self._forget_until(head)
            self._generations = generations
        self._tell()

    def add(self, changes: Iterable[Applied]) -> None:
        """Take in transactions, in order."""
        with self._lock:
            for applied in changes:
                self._latest = applied.revision
                self._waiting.append(applied)
                self._waiting_documents += len(applied.documents)
            while self._waiting_documents > self._most_waiting:
                if self._listeners:
                    self._write_next()
                else:
                    oldest = self._next_waiting()
                    self._note_generations(oldest.documents)
                    self._forget_until(oldest.revision)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _next_waiting(self) -> Applied:
        applied = self._waiting.popleft()
        self._waiting_documents -= len(applied.documents)
        return applied

    def _write_next(self) -> None:
        applied = self._next_waiting()
        described = self._describe(applied.documents)
        self._note_generations(applied.documents)
        if described:
            self._remember(Change(applied.revision, encode({"revision": applied.revision, **described})))

    def _note_generations(self, documents: Mapping[Ref, Document | None]) -> None:
        for ref, document in documents.items():
            if isinstance(document, GenerationDocument):
                self._generations[ref.id] = document.generation
            elif ref.kind is Kind.PROVIDER:
                if document is None:
                    self._generations.pop(ref.id, None)
                else:
                    self._generations.setdefault(ref.id, 0)

    def _forget_until(self, revision: int) -> None:
        """Forget all that has been written as JSON; the changes up to this one are no longer known."""
        self._changes.clear()
        self._first = self._next
        self._bytes = 0
        self._floor = revision

    def _remember(self, change: Change) -> None:
        self._changes[self._next] = change
        self._next += 1
        self._bytes += len(change.data) + _OVERHEAD_BYTES
        while self._bytes > self._most_bytes:
            oldest = self._changes.pop(self._first)
            self._first += 1
            self._bytes -= len(oldest.data) + _OVERHEAD_BYTES
            self._floor = oldest.revision

    def _describe(self, documents: Mapping[Ref, Document | None]) -> dict[str, dict[str, list[Any]]]:
        described: dict[str, dict[str, list[Any]]] = {}

        def note(group: str, what: str, value: object) -> None:
            described.setdefault(group, {}).setdefault(what, []).append(value)

        for ref, document in documents.items():
            if ref.kind is Kind.PROVIDER or ref.kind is Kind.GENERATION:
                self._describe_provider(ref, documents, note)
            elif isinstance(document, ConsumerDocument):
                what = "created" if document.generation == 1 else "changed"
                note("consumers", what, show_consumer(document))
            elif ref.kind in _GROUPS:
                note(_GROUPS[ref.kind], "removed" if document is None else "created", ref.id)
        return described

    def _describe_provider(
        self, ref: Ref, documents: Mapping[Ref, Document | None], note: Callable[[str, str, object], None]
    ) -> None:
        """Note what became of a provider; its generation's document counts where it has no other in the transaction."""
        uuid, document = ref.id, documents[ref]
        known = self._generations.get(uuid)
        if ref.kind is Kind.PROVIDER:
            if isinstance(document, ProviderDocument):
                counted = documents.get(Ref(Kind.GENERATION, uuid))
                generation = counted.generation if isinstance(counted, GenerationDocument) else known or 0
                note("providers", "created" if known is None else "changed", show_provider(document, generation))
            elif known is not None:
                note("providers", "removed", uuid)
        elif (
            isinstance(document, GenerationDocument)
            and Ref(Kind.PROVIDER, uuid) not in documents
            and known is not None
            and known != document.generation
        ):
            note("providers", "changed", {"uuid": uuid, "generation": document.generation})
