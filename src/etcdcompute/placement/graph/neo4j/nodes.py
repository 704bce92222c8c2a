"""Providers as a search sees them: built straight from rows, with nothing that only changes need."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, LiteralString

from neo4j import Record

from etcdcompute.placement.candidates.request import ProviderSummary
from etcdcompute.placement.graph.records import Inventory
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE

# A member of a tree as a row; members of one tree come together. Constant text, put together at import time.
MEMBER: Final[LiteralString] = """
MATCH (m:ResourceProvider {root_uuid: root_uuid})
RETURN root_uuid AS root, m.uuid AS uuid, m.name AS name,
       head([(above)-[:CONTAINS]->(m) | above.uuid]) AS parent_uuid,
       [(m)-[:PROVIDES]->(i) | [i.resource_class, i.capacity, i.used,
                                i.min_unit, i.max_unit, i.step_size]] AS inventories,
       [(m)-[:HAS]->(t) | t.name] AS traits,
       [(m)-[:MEMBER_OF]->(a) | a.uuid] AS aggregates
"""


class SearchNode:
    """One provider with its place in its tree, and what is free; a `ProviderLike`, and a `Member` for explanations."""

    __slots__ = (
        "_summary",
        "aggregates",
        "capacities",
        "children",
        "coarse",
        "inventories",
        "name",
        "parent",
        "room",
        "root",
        "shares",
        "traits",
        "used",
        "uuid",
    )

    def __init__(self, uuid: str, name: str, traits: frozenset[str], aggregates: frozenset[str]) -> None:
        self.uuid = uuid
        self.name = name
        self.parent: SearchNode | None = None
        self.root: SearchNode = self
        self.children: dict[str, SearchNode] = {}
        self.inventories: Mapping[str, Inventory] = {}
        self.capacities: Mapping[str, int] = {}
        self.used: Mapping[str, int] = {}
        self.room: Mapping[str, int] = {}
        self.coarse = False
        self.traits = traits
        self.aggregates = aggregates
        self.shares = SHARES_VIA_AGGREGATE in traits
        self._summary: ProviderSummary | None = None

    def tree(self) -> Sequence["SearchNode"]:
        """Return this node and all below it, parents first."""
        if not self.children:
            return (self,)
        nodes, waiting = [], [self]
        while waiting:
            node = waiting.pop()
            nodes.append(node)
            if node.children:
                waiting.extend(reversed(node.children.values()))
        return nodes

    def part(self) -> None:
        """Let go of the tree; what identifies the provider stays."""
        self.parent = None
        self.root = _NOWHERE
        self.children = {}

    def summary(self) -> ProviderSummary:
        """Return what an answer to a search says of it."""
        if self._summary is None:
            parent = self.parent.uuid if self.parent else None
            self._summary = ProviderSummary(self.uuid, self.capacities, self.used, self.traits, parent, self.root.uuid)
        return self._summary


_NOWHERE = SearchNode("", "", frozenset(), frozenset())


class Planter:
    """Makes trees of rows. Equal parts are one object: thousands of hosts have the same."""

    def __init__(self) -> None:
        self.nodes: dict[str, SearchNode] = {}
        self._inventories: dict[tuple[Any, ...], Inventory] = {}
        self._names: dict[tuple[str, ...], frozenset[str]] = {}

    def plant(self, rows: Iterable[Record]) -> Iterator[SearchNode]:
        """Yield the roots of the trees whose members' rows come, each once it is whole; known ones as they are."""
        members: list[tuple[SearchNode, str | None]] = []
        current: str | None = None
        for root, uuid, name, parent_uuid, held, traits, aggregates in rows:
            if root != current:
                if current is not None:
                    yield self._grow(current, members)
                current, members = root, []
            if root not in self.nodes:
                node = SearchNode(uuid, name, self._set(traits), self._set(aggregates))
                self._furnish(node, held)
                members.append((node, parent_uuid))
        if current is not None:
            yield self._grow(current, members)

    def _grow(self, root_uuid: str, members: list[tuple[SearchNode, str | None]]) -> SearchNode:
        """Link the members of one tree."""
        if members:
            by_uuid = {node.uuid: node for node, _ in members}
            root = by_uuid[root_uuid]
            # Children in one order, whatever the database's is.
            for node, parent_uuid in sorted(members, key=lambda each: each[0].uuid) if len(members) > 1 else members:
                node.root = root
                parent = by_uuid.get(parent_uuid) if parent_uuid is not None else None
                if parent is not None:
                    node.parent = parent
                    parent.children[node.uuid] = node
            self.nodes.update(by_uuid)
        return self.nodes[root_uuid]

    def _furnish(self, node: SearchNode, held: list[list[Any]]) -> None:
        inventories: dict[str, Inventory] = {}
        capacities: dict[str, int] = {}
        used: dict[str, int] = {}
        room: dict[str, int] = {}
        for name, capacity, amount, *limits in sorted(held):
            key = tuple(limits)
            found = self._inventories.get(key)
            if found is None:
                # Of the amounts only the capacity counts here, which comes ready.
                found = self._inventories[key] = Inventory(0, 0, *key)
            inventories[name] = found
            capacities[name] = capacity
            if amount:
                used[name] = amount
            room[name] = min(capacity - amount, found.max_unit)
            if found.min_unit != 1 or found.step_size != 1:
                node.coarse = True
        node.inventories, node.capacities, node.used, node.room = inventories, capacities, used, room

    def _set(self, names: list[str]) -> frozenset[str]:
        key = tuple(names)
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = frozenset(names)
        return found
