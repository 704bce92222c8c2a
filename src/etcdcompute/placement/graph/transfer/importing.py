"""From a file into a store: into an empty one, or on from where an import of the same file was broken off.

look      what the store holds; anything but nothing, or a part of the same file behind our marker, is refused
begin     the marker: from here on nobody else writes, and nothing is served
restore   what is missing, in transactions; broken off anywhere, the next run looks and goes on
compare   the store, read again, with the file, document by document
finish    the marker goes
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from etcdcompute.errors import Conflict
from etcdcompute.failpoint import failpoint
from etcdcompute.model.document import Document
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import (
    GenerationDocument,
    ImportDocument,
    Kind,
    NamedDocument,
    NameDocument,
    Ref,
    key_of,
)
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.restoring import Holdings, Restores
from etcdcompute.placement.graph.transfer.archive import Archive, Counts, count, parents_first
from etcdcompute.placement.graph.transfer.wholeness import check_whole

# etcd takes 128 operations unless told otherwise, of which the head is one, and compares as many.
_MOST_DOCUMENTS: Final = 120
_MOST_BYTES: Final = 1024 * 1024
_TELL_EVERY_S: Final = 2.0
_MOST_NAMED: Final = 3
_CALLED: Final = {
    Kind.TRAIT: "trait",
    Kind.RESOURCE_CLASS: "resource class",
    Kind.PROVIDER: "provider",
    Kind.GENERATION: "the generation of provider",
    Kind.CONSUMER: "consumer",
}

# What belongs together: a provider with its generation and its name.
Unit = Sequence[tuple[Ref, Document]]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import came to; `differences` says in which documents the store is not the file."""

    counts: Counts
    restored: int
    resumed: bool
    differences: tuple[str, ...] = ()


def import_archive(store: Restores, archive: Archive, name: str, reread: Callable[[], Holdings], tell: Tell) -> Outcome:
    """Bring a store to hold what a file holds, and nothing else.

    `reread` reads the store afresh, past whatever this process remembers. Raises Conflict where the store holds
    anything else, InvalidInput where the file does not hold together; nothing is written then.
    """
    check_whole(archive.snapshot, name)
    wanted = units(archive.snapshot)
    held = store.inspect()
    there = _check_target(held, archive, wanted)
    counts = count(archive.snapshot)
    if held.importing is None and there:
        return Outcome(counts, restored=0, resumed=False)
    run = uuid.uuid4().hex
    marker = ImportDocument(
        run=run, checksum=archive.checksum, revision=archive.snapshot.revision, begun_at=time.time()
    )
    store.begin_import(marker, held.snapshot.revision)
    failpoint("import.begun")
    missing = [unit for unit in wanted if unit[0][0] not in there]
    _restore(store, run, missing, len(wanted), tell)
    differences = tuple(_compare(archive.snapshot, reread().snapshot))
    failpoint("import.compared")
    if not differences:
        store.finish_import(run)
        failpoint("import.finished")
    return Outcome(counts, len(missing), held.importing is not None, differences)


def abandon_import(store: Restores, tell: Tell) -> Counts | None:
    """Remove what an import that is not finished has brought, and its marker; return how much, None without one."""
    held = store.inspect()
    if held.importing is None:
        return None
    run = uuid.uuid4().hex
    # A run of our own, so that an importer that is still at it stops.
    store.begin_import(
        ImportDocument(
            run=run,
            checksum=held.importing.checksum,
            revision=held.importing.revision,
            begun_at=held.importing.begun_at,
        ),
        held.snapshot.revision,
    )
    # While the marker stands nobody else writes, and it was put up on an empty store: all that is there came with it.
    there = list(reversed(units(held.snapshot)))
    progress = _Progress("removed", len(there), tell)
    for batch in _batches(there):
        change = Change()
        for unit in batch:
            for ref, _ in unit:
                change.remove(ref)
        store.import_documents(change, run)
        failpoint("import.removed")
        progress.add(len(batch))
    store.finish_import(run)
    return count(held.snapshot)


def units(snapshot: Snapshot) -> list[Unit]:
    """Return all documents, in the order in which they are put: names, providers, who claims from them."""
    found: list[Unit] = []
    for kind, names in ((Kind.TRAIT, snapshot.traits), (Kind.RESOURCE_CLASS, snapshot.resource_classes)):
        found += [[(Ref(kind, name), NamedDocument(created_at=at))] for name, at in sorted(names.items())]
    for document, generation in parents_first(snapshot.providers):
        found.append(
            [
                (Ref(Kind.PROVIDER, document.uuid), document),
                (Ref(Kind.GENERATION, document.uuid), GenerationDocument(generation=generation)),
                (Ref(Kind.NAME, document.name), NameDocument(uuid=document.uuid)),
            ]
        )
    found += [
        [(Ref(Kind.CONSUMER, each.uuid), each)] for each in sorted(snapshot.consumers, key=lambda each: each.uuid)
    ]
    return found


def _check_target(held: Holdings, archive: Archive, wanted: Sequence[Unit]) -> set[Ref]:
    """Return what is there of the file already; Conflict where that is not all that is there."""
    marker = held.importing
    if marker is not None and marker.checksum != archive.checksum:
        raise Conflict(
            f"an import of another file (of what stood at revision {marker.revision} elsewhere) is not finished here: "
            "run it again with that file, or drop it with etcdcompute graph import --abandon"
        )
    there = [unit[0][0] for unit in units(held.snapshot)]
    if not there:
        return set()
    foreign = list(_compare(archive.snapshot, held.snapshot, whole=False))
    if marker is not None and foreign:
        raise Conflict(
            f"the store holds more than a part of the file: {_some(foreign)}. "
            "Drop the import with etcdcompute graph import --abandon"
        )
    if marker is None and (foreign or len(there) < len(wanted)):
        but = _some(foreign) if foreign else "not all that the file has, and no import is under way"
        raise Conflict(f"the store is not empty: it holds {count(held.snapshot)}; {but}. Import into an empty one")
    return set(there) & {unit[0][0] for unit in wanted}


def _compare(wanted: Snapshot, found: Snapshot, *, whole: bool = True) -> Iterator[str]:
    """Say which documents differ; with `whole` also which are missing. Revisions are each store's own."""
    ours, theirs = dict(_flat(wanted)), dict(_flat(found))
    for ref in ours if whole else ():
        if ref not in theirs:
            yield f"{_called(ref)} is missing"
    for ref, document in theirs.items():
        if ref not in ours:
            yield f"{_called(ref)} is not in the file"
        elif ours[ref] != document:
            yield f"{_called(ref)} is different"


def _some(differences: Sequence[str]) -> str:
    more = len(differences) - _MOST_NAMED
    return f"{', '.join(differences[:_MOST_NAMED])}{f' and {more} more' if more > 0 else ''}"


def _flat(snapshot: Snapshot) -> Iterator[tuple[Ref, Document]]:
    # A name follows from its provider.
    for unit in units(snapshot):
        yield from ((ref, document) for ref, document in unit if ref.kind is not Kind.NAME)


def _called(ref: Ref) -> str:
    return f"{_CALLED[ref.kind]} {ref.id}"


def _restore(store: Restores, run: str, missing: Sequence[Unit], of: int, tell: Tell) -> None:
    progress = _Progress("imported", of, tell)
    progress.done = of - len(missing)
    for batch in _batches(missing):
        change = Change()
        for unit in batch:
            for ref, document in unit:
                change.put(ref, document)
        store.import_documents(change, run)
        failpoint("import.restored")
        progress.add(len(batch))


def _batches(waiting: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Return units in as few batches as the stores take."""
    batch: list[Unit] = []
    documents = size = 0
    for unit in waiting:
        more = sum(len(key_of(ref)) + len(document.to_json()) for ref, document in unit)
        if batch and (documents + len(unit) > _MOST_DOCUMENTS or size + more > _MOST_BYTES):
            yield batch
            batch, documents, size = [], 0, 0
        batch.append(unit)
        documents += len(unit)
        size += more
    if batch:
        yield batch


class _Progress:
    """Says how far it is, where it takes long."""

    def __init__(self, what: str, of: int, tell: Tell) -> None:
        self.done = 0
        self._what = what
        self._of = of
        self._tell = tell
        self._told_at = time.monotonic()

    def add(self, number: int) -> None:
        self.done += number
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            self._tell(f"{self._what} {self.done} of {self._of} documents")
