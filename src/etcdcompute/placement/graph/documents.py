"""The graph's documents in etcd: one place builds and takes apart their keys, and reads and writes their bytes.

Below /etcdcompute/v1/placement/ stand

    providers/<uuid>      what a provider is and has
    generations/<uuid>    its generation; *every* change that depends on or changes a provider rewrites this small
                          key, so that comparing it alone guards the provider, and a claim writes few bytes. A provider
                          to which nothing has happened since it was created may have none: its generation is 0
    names/<name>          the uuid of the provider with the name: names are unique
    consumers/<uuid>      who has claimed what
    traits/<name>         custom traits
    classes/<name>        custom resource classes
    head                  written last in every transaction: the graph's own clock, and the mark that a transaction's
                          events are complete
    import                there while an import is under way: nobody else writes, and nothing is served
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from etcdcompute.model import keys
from etcdcompute.model.document import Document
from etcdcompute.placement.graph.records import Inventory


class Kind(StrEnum):
    """What a key is about."""

    PROVIDER = "providers"
    GENERATION = "generations"
    NAME = "names"
    CONSUMER = "consumers"
    TRAIT = "traits"
    RESOURCE_CLASS = "classes"
    HEAD = "head"
    IMPORT = "import"


# For what is done by the ten thousand: to find a member of an enumeration takes Python 3.11 eight times as long.
PROVIDER: Final = Kind.PROVIDER
GENERATION: Final = Kind.GENERATION
NAME: Final = Kind.NAME
CONSUMER: Final = Kind.CONSUMER
TRAIT: Final = Kind.TRAIT
RESOURCE_CLASS: Final = Kind.RESOURCE_CLASS


class Ref(NamedTuple):
    """One document's identity."""

    kind: Kind
    id: str


HEAD = Ref(Kind.HEAD, "")
IMPORT = Ref(Kind.IMPORT, "")
_SINGLE = frozenset({Kind.HEAD, Kind.IMPORT})
_is_plain = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch
_PLACES = {kind: f"{keys.PLACEMENT}{kind}/" for kind in Kind}


class ProviderDocument(Document, frozen=True, kw_only=True):
    """What a provider is and has. Lists are sorted: the same provider is the same bytes."""

    kind = "provider"

    uuid: str
    name: str
    parent_uuid: str | None = None
    inventories: dict[str, Inventory] = msgspec.field(default_factory=dict)
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    created_at: float = 0.0
    updated_at: float = 0.0


class GenerationDocument(Document, frozen=True, kw_only=True):
    """A provider's generation."""

    kind = "generation"

    generation: int = 0


class NameDocument(Document, frozen=True, kw_only=True):
    """Who has a name."""

    kind = "name"

    uuid: str


class ConsumerDocument(Document, frozen=True, kw_only=True):
    """Who has claimed what: allocations by provider uuid and resource class."""

    kind = "consumer"

    uuid: str
    generation: int
    project_id: str
    user_id: str
    consumer_type: str | None = None
    allocations: dict[str, dict[str, int]]
    updated_at: float = 0.0


class NamedDocument(Document, frozen=True, kw_only=True):
    """A custom trait or resource class."""

    kind = "name"

    created_at: float = 0.0


class HeadDocument(Document, frozen=True, kw_only=True):
    """The last change: its id lets a writer whose answer was lost recognise its own change in the watch."""

    kind = "head"

    change: str


class ImportDocument(Document, frozen=True, kw_only=True):
    """An import under way: which run of which file; the last run to have begun is the one that may go on."""

    kind = "import"

    run: str
    checksum: str
    revision: int
    begun_at: float = 0.0


TYPES: dict[Kind, type[Document]] = {
    Kind.PROVIDER: ProviderDocument,
    Kind.GENERATION: GenerationDocument,
    Kind.NAME: NameDocument,
    Kind.CONSUMER: ConsumerDocument,
    Kind.TRAIT: NamedDocument,
    Kind.RESOURCE_CLASS: NamedDocument,
    Kind.HEAD: HeadDocument,
    Kind.IMPORT: ImportDocument,
}


def key_of(ref: Ref) -> str:
    """Return the key of a document; names are quoted, so that any character may stand in one."""
    kind, identity = ref
    if not identity and kind in _SINGLE:
        return f"{keys.PLACEMENT}{kind}"
    # Most ids are uuids, and looking is ten times as fast as quoting.
    return _PLACES[kind] + (identity if _is_plain(identity) else quote(identity, safe=""))


def ref_of(key: str) -> Ref | None:
    """Return what a key below the prefix is about, None for a key that is not the graph's."""
    kind, slash, quoted = key.removeprefix(keys.PLACEMENT).partition("/")
    if kind in _SINGLE:
        return None if slash else Ref(Kind(kind), "")
    try:
        # The standard routes let a provider be renamed to nothing.
        return Ref(Kind(kind), unquote(quoted)) if slash and (quoted or kind == Kind.NAME) else None
    except ValueError:
        return None


def parse(ref: Ref, data: bytes) -> Document:
    """Read a document; DocumentError says what is wrong with it."""
    return TYPES[ref.kind].from_json(data)
