"""Whole provider trees as values: what is declared, and what a declaration came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from etcdcompute.placement.graph.records import Inventory

# Deeper or larger trees are refused, so that no document is too much for those who walk it.
MAX_DEPTH: Final = 32
MAX_PROVIDERS: Final = 1000


class DeclaredProvider(msgspec.Struct, frozen=True):
    """One provider of a tree; lists and mappings are sorted.

    `generation` is what it must be at, or is at; None where nothing is said of it.
    """

    uuid: str
    name: str
    parent_uuid: str | None
    inventories: Mapping[str, Inventory]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """All providers of one tree, parents before children, the root first. Uuids and names are unique in it."""

    providers: tuple[DeclaredProvider, ...]

    @property
    def root_uuid(self) -> str:
        """The root's uuid."""
        return self.providers[0].uuid

    @property
    def depth(self) -> int:
        """How many providers stand one below the other at most."""
        depths: dict[str | None, int] = {}
        for each in self.providers:
            depths[each.uuid] = depths.get(each.parent_uuid, 0) + 1
        return max(depths.values())


@dataclass(frozen=True, slots=True)
class TreeOutcome:
    """What declaring a tree came to: uuids of providers, names of custom traits and classes, generations by uuid."""

    tree: Tree
    generations: Mapping[str, int]
    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    created_traits: tuple[str, ...] = ()
    created_classes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.created or self.updated or self.removed)
