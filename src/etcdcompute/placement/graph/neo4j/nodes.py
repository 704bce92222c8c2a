"""Providers as a search sees them: built straight from rows, with nothing that only changes need."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, LiteralString

from neo4j import Record

from etcdcompute.placement.graph.records import Inventory
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE
from etcdcompute.placement.graph.treenode import TreeNode

# From the root of a tree to its members: by an index, and tree by tree, so that who wants a few trees pays for a few.
MEMBERS: Final[LiteralString] = """
CALL (root_uuid) {
  MATCH (m:ResourceProvider {root_uuid: root_uuid})
  RETURN collect(m) AS members
}
"""
# Trees as lists of members, many to a row: for the driver each row costs more than what is in it. What a provider has
# is found in one step over its relationships: inventories as lists of three, or six
# where there are limits to one claim, traits as names, aggregates in lists of one.
# Constant text, put together at import time.
TREES: Final[LiteralString] = """
WITH collect(members) AS trees
UNWIND range(0, size(trees) - 1, 256) AS start
RETURN [members IN trees[start..start + 256] | [m IN members |
        [m.uuid, m.name, head([(above)-[:CONTAINS]->(m) | above.uuid]),
         [(m)-[r:PROVIDES|HAS|MEMBER_OF]->(x) | CASE type(r)
            WHEN 'PROVIDES' THEN [x.resource_class, x.capacity, x.used]
              + CASE WHEN x.min_unit = 1 AND x.max_unit >= x.capacity AND x.step_size = 1 THEN []
                     ELSE [x.min_unit, x.max_unit, x.step_size] END
            WHEN 'HAS' THEN x.name
            ELSE [x.uuid]
          END]]]] AS trees
"""
_UNLIMITED: Final = 3
# Of the amounts only the capacity counts here, which comes ready.
_ANY: Final = Inventory(0, 0)
# A member of a tree: uuid, name, the parent's uuid, and what it has.
_Member = list[Any]


class SearchNode(TreeNode):
    """One provider and what is free; a `ProviderLike`, and a `Member` for explanations."""

    __slots__ = ("aggregates", "coarse", "inventories", "room", "shares")

    def __init__(self, uuid: str, name: str, traits: frozenset[str], aggregates: frozenset[str]) -> None:
        super().__init__(uuid, name)
        self.inventories: Mapping[str, Inventory] = {}
        self.room: Mapping[str, int] = {}
        self.coarse = False
        self.traits = traits
        self.aggregates = aggregates
        self.shares = SHARES_VIA_AGGREGATE in traits


_NOWHERE = SearchNode("", "", frozenset(), frozenset())


class Planter:
    """Makes trees of rows. Equal parts are one object: thousands of hosts have the same."""

    def __init__(self) -> None:
        self.nodes: dict[str, SearchNode] = {}
        self._inventories: dict[tuple[int, int, int], Inventory] = {}
        self._names: dict[tuple[str, ...], frozenset[str]] = {}

    def plant(self, rows: Iterable[Record]) -> Iterator[SearchNode]:
        """Yield the roots of the trees that come; known ones as they are."""
        for (trees,) in rows:
            for members in trees:
                # One that was removed between two steps of the statement has none.
                if members:
                    known = self.nodes.get(members[0][0])
                    yield self._grow(members) if known is None else known.root

    def let_go(self) -> None:
        """Take the trees apart: what points up and down would stay in memory for long. Identities stay."""
        for node in self.nodes.values():
            node.parent = None
            node.children = {}
            node.cut_off(_NOWHERE)

    def _grow(self, members: list[_Member]) -> SearchNode:
        """Make the members of one tree, and link them."""
        if len(members) == 1:
            root = self._make(members[0])
            self.nodes[root.uuid] = root
            return root
        # Children in one order, whatever the database's is.
        members.sort(key=_uuid_of)
        grown = {member[0]: self._make(member) for member in members}
        for uuid, _, parent_uuid, _ in members:
            parent = grown.get(parent_uuid)
            if parent is not None:
                grown[uuid].parent = parent
                # Not by `adopt`, which goes up the tree: what is seen of one while parts of it move may be a circle.
                parent.children[uuid] = grown[uuid]
        # While a part of a tree moves, more than the root may seem to have nothing above it.
        top = next((uuid for uuid, _, parent_uuid, _ in members if parent_uuid not in grown), members[0][0])
        root = grown[top]
        for node in grown.values():
            node.root = root
        self.nodes.update(grown)
        return root

    def _make(self, member: _Member) -> SearchNode:
        """Make a provider of what it has."""
        uuid, name, _, held = member
        inventories: dict[str, Inventory] = {}
        capacities: dict[str, int] = {}
        used: dict[str, int] = {}
        room: dict[str, int] = {}
        traits, aggregates = [], []
        coarse = False
        for each in held:
            if isinstance(each, str):
                traits.append(each)
            elif len(each) == 1:
                aggregates.append(each[0])
            else:
                resource_class, capacity, amount = each[:3]
                free = capacity - amount
                capacities[resource_class] = capacity
                if amount:
                    used[resource_class] = amount
                if len(each) == _UNLIMITED:
                    inventories[resource_class], room[resource_class] = _ANY, free
                else:
                    found = self._inventory(*each[3:])
                    inventories[resource_class], room[resource_class] = found, min(free, found.max_unit)
                    coarse = coarse or found.min_unit != 1 or found.step_size != 1
        node = SearchNode(uuid, name, self._set(traits), self._set(aggregates))
        node.inventories, node.capacities, node.used, node.room = inventories, capacities, used, room
        node.coarse = coarse
        return node

    def _inventory(self, min_unit: int, max_unit: int, step_size: int) -> Inventory:
        limits = (min_unit, max_unit, step_size)
        found = self._inventories.get(limits)
        if found is None:
            found = self._inventories[limits] = Inventory(0, 0, *limits)
        return found

    def _set(self, names: list[str]) -> frozenset[str]:
        key = tuple(sorted(names))
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = frozenset(names)
        return found


def _uuid_of(member: _Member) -> str:
    return str(member[0])
