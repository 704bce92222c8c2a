"""A graph in a file: one JSON document a line.

    {"header": {"format": "etcdcompute-graph", "version": 1, "revision": 12, "counts": {…}}}
    {"trait": {"created_at": …, "name": "CUSTOM_…"}}              by name
    {"resource_class": {"created_at": …, "name": "CUSTOM_…"}}     by name
    {"provider": {…}}                                             as in exports; parents first, else by uuid
    {"consumer": {…}}                                             as in exports; by uuid
    {"end": {"lines": 11, "sha256": "…"}}                         of all lines before

The last line tells a file that is whole and as it was written from any other, before anything is done with it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from etcdcompute.placement.graph.documents import ConsumerDocument, ProviderDocument
from etcdcompute.placement.graph.errors import BadArchive
from etcdcompute.placement.graph.export import (
    ShownConsumer,
    ShownProvider,
    Snapshot,
    encode,
    show_consumer,
    show_provider,
)
from etcdcompute.placement.graph.records import Inventory

FORMAT: Final = "etcdcompute-graph"
VERSION: Final = 1
# What etcd takes in one request is much less.
_MOST_LINE_BYTES: Final = 64 * 1024 * 1024


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of what."""

    traits: int
    resource_classes: int
    providers: int
    consumers: int

    def __str__(self) -> str:
        return ", ".join(
            (
                _number(self.providers, "provider", "providers"),
                _number(self.consumers, "consumer", "consumers"),
                _number(self.traits, "custom trait", "custom traits"),
                _number(self.resource_classes, "custom resource class", "custom resource classes"),
            )
        )


class _Header(msgspec.Struct, frozen=True):
    format: str
    version: int
    revision: int
    counts: Counts


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    created_at: float


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: int
    sha256: str


class _FirstLine(msgspec.Struct, frozen=True):
    header: _Header


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trait: _Name | None = None
    resource_class: _Name | None = None
    provider: ShownProvider | None = None
    consumer: ShownConsumer | None = None
    end: _End | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """What a file held; `checksum` names it."""

    snapshot: Snapshot
    checksum: str


def count(snapshot: Snapshot) -> Counts:
    """Return how much a snapshot holds."""
    return Counts(
        traits=len(snapshot.traits),
        resource_classes=len(snapshot.resource_classes),
        providers=len(snapshot.providers),
        consumers=len(snapshot.consumers),
    )


def write(snapshot: Snapshot) -> Iterator[bytes]:
    """Return the file's lines: the same bytes for the same state at the same revision."""
    digest = hashlib.sha256()
    lines = 0
    for line in _lines(snapshot):
        whole = encode(line) + b"\n"
        digest.update(whole)
        lines += 1
        yield whole
    yield encode({"end": _End(lines=lines, sha256=digest.hexdigest())}) + b"\n"


def read(lines: Iterable[bytes], name: str) -> Archive:
    """Read a file; BadArchive says, by the file's name, that it is none of ours, not whole, or changed."""
    reader = _Reader(name)
    for line in lines:
        reader.take(line)
    return reader.finish()


def parents_first(providers: Iterable[tuple[ProviderDocument, int]]) -> list[tuple[ProviderDocument, int]]:
    """Return providers in an order in which each comes behind its parent, and what has no place in a tree last."""
    below: dict[str | None, list[tuple[ProviderDocument, int]]] = {}
    listed = sorted(providers, key=lambda each: each[0].uuid)
    known = {document.uuid for document, _ in listed}
    for each in listed:
        parent = each[0].parent_uuid
        below.setdefault(parent if parent in known else None, []).append(each)
    ordered: list[tuple[ProviderDocument, int]] = []
    waiting = list(reversed(below.pop(None, [])))
    while waiting:
        each = waiting.pop()
        ordered.append(each)
        waiting.extend(reversed(below.pop(each[0].uuid, [])))
    # What is left goes round in circles.
    return ordered + [each for held in below.values() for each in held]


def _lines(snapshot: Snapshot) -> Iterator[Mapping[str, object]]:
    header = _Header(format=FORMAT, version=VERSION, revision=snapshot.revision, counts=count(snapshot))
    yield {"header": header}
    for name, created_at in sorted(snapshot.traits.items()):
        yield {"trait": _Name(name=name, created_at=created_at)}
    for name, created_at in sorted(snapshot.resource_classes.items()):
        yield {"resource_class": _Name(name=name, created_at=created_at)}
    for document, generation in parents_first(snapshot.providers):
        yield {"provider": show_provider(document, generation)}
    for consumer in sorted(snapshot.consumers, key=lambda each: each.uuid):
        yield {"consumer": show_consumer(consumer)}


class _Reader:
    """Takes in lines, one after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._digest = hashlib.sha256()
        self._lines = 0
        self._header: _Header | None = None
        self._end: _End | None = None
        self._traits: dict[str, float] = {}
        self._classes: dict[str, float] = {}
        self._providers: list[tuple[ProviderDocument, int]] = []
        self._consumers: list[ConsumerDocument] = []

    def take(self, line: bytes) -> None:
        """Take in a line."""
        if self._end is not None:
            raise self._bad("there is more behind its closing line; it was changed")
        if self._header is None:
            self._header = self._read_header(line)
        else:
            self._read(line)
        if self._end is None:
            self._digest.update(line)
            self._lines += 1

    def finish(self) -> Archive:
        """Return what was read, if it is whole."""
        if self._header is None:
            raise self._bad("it is empty")
        if self._end is None:
            raise self._bad(f"it ends after line {self._lines} without its closing line: it is not whole, export again")
        checksum = self._digest.hexdigest()
        if (self._lines, checksum) != (self._end.lines, self._end.sha256):
            raise self._bad(
                "its checksum is not that of its lines: it was changed, or damaged on its way; export again"
            )
        snapshot = Snapshot(self._header.revision, self._providers, self._consumers, self._traits, self._classes)
        if count(snapshot) != self._header.counts:
            raise self._bad("it does not hold as many documents as its first line says")
        return Archive(snapshot, checksum)

    def _read_header(self, line: bytes) -> _Header:
        try:
            header = msgspec.json.decode(line, type=_FirstLine).header
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._bad(
                "its first line is not that of a graph; it is no file of etcdcompute graph export"
            ) from None
        if header.format != FORMAT:
            raise self._bad(f"its format is {header.format[:40]!r}, not {FORMAT!r}")
        if header.version != VERSION:
            raise self._bad(
                f"its format is of version {header.version}, this program knows {VERSION}: "
                "import it with the program that wrote it, or one as new"
            )
        return header

    def _read(self, line: bytes) -> None:
        if len(line) > _MOST_LINE_BYTES:
            raise self._bad(f"line {self._lines + 1} is longer than {_MOST_LINE_BYTES} bytes")
        try:
            read = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            cut = "" if line.endswith(b"\n") else "; the file ends there: it is not whole, export again"
            raise self._bad(f"line {self._lines + 1} cannot be read: {error}{cut}") from None
        if read.trait is not None:
            self._traits[read.trait.name] = read.trait.created_at
        elif read.resource_class is not None:
            self._classes[read.resource_class.name] = read.resource_class.created_at
        elif read.provider is not None:
            self._providers.append(_provider(read.provider))
        elif read.consumer is not None:
            self._consumers.append(_consumer(read.consumer))
        elif read.end is not None:
            self._end = read.end
        else:
            raise self._bad(f"line {self._lines + 1} holds nothing")

    def _bad(self, reason: str) -> BadArchive:
        return BadArchive(f"{self._name}: {reason}")


def _provider(shown: ShownProvider) -> tuple[ProviderDocument, int]:
    document = ProviderDocument(
        uuid=shown.uuid,
        name=shown.name,
        parent_uuid=shown.parent_uuid,
        inventories={name: Inventory(*msgspec.structs.astuple(each)) for name, each in shown.inventories.items()},
        traits=shown.traits,
        aggregates=shown.aggregates,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )
    return document, shown.generation


def _consumer(shown: ShownConsumer) -> ConsumerDocument:
    return ConsumerDocument(
        uuid=shown.uuid,
        generation=shown.generation,
        project_id=shown.project_id,
        user_id=shown.user_id,
        consumer_type=shown.consumer_type,
        allocations={uuid: dict(resources) for uuid, resources in shown.allocations.items()},
        updated_at=shown.updated_at,
    )


def _number(amount: int, one: str, many: str) -> str:
    return f"{amount} {one if amount == 1 else many}"
