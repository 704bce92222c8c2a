"""The values that go in and out of the store: no I/O, no etcd types.

Of those that come by the hundred in a transaction or a watch, msgspec makes one in a fraction of the time that a frozen
dataclass takes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Item(msgspec.Struct, frozen=True, gc=False):
    """One key as it stood at one revision. `lease` is 0 where the key has none."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys below a prefix, in key order, as they stood at `revision`."""

    revision: int
    items: tuple[Item, ...]


class Comparison(StrEnum):
    """What a transaction may compare."""

    ABSENT = "absent"
    PRESENT = "present"
    UNCHANGED = "unchanged"


class Compare(msgspec.Struct, frozen=True, gc=False):
    """One guard of a transaction: build it with `absent`, `present` or `unchanged`."""

    key: str
    comparison: Comparison
    mod_revision: int = 0

    @classmethod
    def absent(cls, key: str) -> "Compare":
        """Hold when the key does not exist."""
        return cls(key, Comparison.ABSENT)

    @classmethod
    def present(cls, key: str) -> "Compare":
        """Hold when the key exists."""
        return cls(key, Comparison.PRESENT)

    @classmethod
    def unchanged(cls, item: Item) -> "Compare":
        """Hold when the key has not been written since `item` was read."""
        return cls(item.key, Comparison.UNCHANGED, item.mod_revision)


class Write(msgspec.Struct, frozen=True, gc=False):
    """Put `value` at `key`; with a lease, the key goes when the lease does."""

    key: str
    value: bytes
    lease: int = 0


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Delete `key`; no error where it is absent."""

    key: str


@dataclass(frozen=True, slots=True)
class RemovePrefix:
    """Delete all keys that begin with `prefix`."""

    prefix: str


Operation = Write | Remove | RemovePrefix


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction was carried out, as one revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A comparison did not hold; nothing was written. `revision` is the store's at that moment."""

    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole prefix: what the watcher knew before is void. Comes first, and again after every reset."""

    revision: int
    items: tuple[Item, ...]
    reason: str


class PutEvent(msgspec.Struct, frozen=True, gc=False):
    """A key was written."""

    revision: int
    item: Item


class DeleteEvent(msgspec.Struct, frozen=True, gc=False):
    """A key was deleted or expired."""

    revision: int
    key: str


@dataclass(frozen=True, slots=True)
class Progress:
    """All events up to and including `revision` have been delivered."""

    revision: int


WatchEvent = Snapshot | PutEvent | DeleteEvent | Progress

OnLost = Callable[[], None]
