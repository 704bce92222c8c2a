"""Where to look for candidates, asked of the database; whether and how a request fits is the common search's to say.

Each part of a request (an amount of a class, traits, aggregates, a tree) names providers one of which every candidate
needs, in its tree or among what is shared with it. The part that leaves the fewest providers leads to trees by an
index, and the database keeps those of them in which every other part finds something, too. Only these are fetched, as a
whole and as they are wanted: a few where few candidates are asked for.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, LiteralString

from etcdcompute.placement.candidates.fit import fits
from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.nodes import MEMBER, Planter, SearchNode
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE

_ALL: Final = 2**31 - 1
_BATCH: Final = 512
# How far the database counts to find out what is rare.
_COUNTED: Final = 1000
# Trees to fetch at first for each candidate that is wanted.
_FIRST_TREES: Final = 2
# How many times as many next.
_MORE_TREES: Final = 8

_COUNT: Final = """
UNWIND $parts AS part
RETURN part.number AS number,
       COUNT { MATCH (i:Inventory) WHERE i.resource_class = part.name AND i.free >= part.amount RETURN i LIMIT 1000 }
       + COUNT { MATCH (t:Trait)<-[:HAS]-(p) WHERE t.name IN part.traits RETURN p LIMIT 1000 }
       + COUNT { MATCH (a:Aggregate)<-[:MEMBER_OF]-(p) WHERE a.uuid IN part.aggregates RETURN p LIMIT 1000 } AS count
"""
# From providers to the roots of their trees, and which of these are kept.
_CHECK: Final[LiteralString] = """
WITH DISTINCT p.root_uuid AS root_uuid
WHERE all(part IN $parts WHERE
          EXISTS { MATCH (m:ResourceProvider {root_uuid: root_uuid})-[:PROVIDES]->(i:Inventory)
                   WHERE i.resource_class = part.name AND i.free >= part.amount AND i.max_unit >= part.amount }
          OR EXISTS { MATCH (m:ResourceProvider {root_uuid: root_uuid})-[:HAS]->(t) WHERE t.name IN part.traits }
          OR EXISTS { MATCH (m:ResourceProvider {root_uuid: root_uuid})-[:MEMBER_OF]->(a)
                      WHERE a.uuid IN part.aggregates })
WITH root_uuid LIMIT $most
"""
_BY_ROOM: Final[LiteralString] = (
    """
MATCH (i:Inventory)
WHERE i.resource_class = $lead.name AND i.free >= $lead.amount AND i.max_unit >= $lead.amount
MATCH (i)<-[:PROVIDES]-(p:ResourceProvider)
"""
    + _CHECK
    + MEMBER
)
_BY_TRAIT: Final[LiteralString] = (
    "MATCH (t:Trait)<-[:HAS]-(p:ResourceProvider) WHERE t.name IN $lead.traits" + _CHECK + MEMBER
)
_BY_AGGREGATE: Final[LiteralString] = (
    "MATCH (a:Aggregate)<-[:MEMBER_OF]-(p:ResourceProvider) WHERE a.uuid IN $lead.aggregates" + _CHECK + MEMBER
)
# A part that shared providers satisfy, too, leads to those whose trees they share with.
_BY_ANY: Final[LiteralString] = (
    """
CALL {
  MATCH (i:Inventory)<-[:PROVIDES]-(p:ResourceProvider)
  WHERE i.resource_class = $lead.name AND i.free >= $lead.amount AND i.max_unit >= $lead.amount
  RETURN p
  UNION ALL
  MATCH (t:Trait)<-[:HAS]-(p:ResourceProvider) WHERE t.name IN $lead.traits
  RETURN p
  UNION ALL
  MATCH (a:Aggregate)<-[:MEMBER_OF]-(p:ResourceProvider) WHERE a.uuid IN $lead.aggregates
  RETURN p
}
"""
    + _CHECK
    + MEMBER
)
_BY_TREE: Final[LiteralString] = "MATCH (p:ResourceProvider) WHERE p.uuid IN $lead.trees" + _CHECK + MEMBER
_FROM_ALL: Final[LiteralString] = "MATCH (p:ResourceProvider) WHERE p.uuid = p.root_uuid" + _CHECK + MEMBER
_TREE_OF: Final[LiteralString] = (
    """
MATCH (p:ResourceProvider {uuid: $uuid})
WITH p.root_uuid AS root_uuid
"""
    + MEMBER
)
_SHARING: Final[LiteralString] = (
    """
MATCH (:Trait {name: $trait})<-[:HAS]-(p:ResourceProvider)
WITH DISTINCT p.root_uuid AS root_uuid
"""
    + MEMBER
)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one part of a request is satisfied by: room, or a trait, or membership; any of them will do."""

    name: str = ""
    amount: int = 0
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "amount": self.amount,
            "traits": list(self.traits),
            "aggregates": list(self.aggregates),
        }

    @property
    def statement(self) -> LiteralString:
        """The statement that this part leads."""
        kinds = bool(self.name) + bool(self.traits) + bool(self.aggregates)
        if kinds > 1:
            return _BY_ANY
        if self.name:
            return _BY_ROOM
        return _BY_TRAIT if self.traits else _BY_AGGREGATE


class StoredTopology:
    """The graph in the database as a search sees it: what has been fetched of it, and the way to the rest."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._planter = Planter()
        self._sharing: list[SearchNode] | None = None

    def node(self, uuid: str) -> SearchNode | None:
        """Return a provider, with its tree; None where there is none."""
        if uuid not in self._planter.nodes:
            self._fetch(_TREE_OF, uuid=uuid)
        return self._planter.nodes.get(uuid)

    def sharing_nodes(self) -> Collection[SearchNode]:
        """Return the providers that share through their aggregates."""
        if self._sharing is None:
            roots = self._fetch(_SHARING, trait=SHARES_VIA_AGGREGATE)
            self._sharing = [node for root in roots for node in root.tree() if node.shares]
        return self._sharing

    def all_nodes(self) -> Iterable[SearchNode]:
        """Return all providers; they are fetched."""
        self._fetch(_FROM_ALL, parts=[], most=_ALL)
        return self._planter.nodes.values()

    def anchors(self, request: CandidateRequest, trees: Mapping[str, SearchNode]) -> Iterator[list[SearchNode]]:
        """Yield the roots to look at, some at a time, each once; `trees` holds those that groups have to be below."""
        parts = list(dict.fromkeys(self._parts(request)))
        statement, lead, led = self._choose(parts, trees)
        given = {
            "lead": lead,
            # What leads is satisfied.
            "parts": [part.row() for part in parts if part is not led],
        }
        for roots in self._batches(statement, given, request.limit):
            yield [
                root
                for root in roots
                if request.root_required <= root.traits and root.traits.isdisjoint(request.root_forbidden)
            ]

    def _batches(
        self, statement: LiteralString, given: Mapping[str, Any], limit: int | None
    ) -> Iterator[list[SearchNode]]:
        """Yield roots as the database finds them; where few are wanted ask for a few, and for more if need be."""
        if limit is None:
            roots = self._planter.plant(self._work.stream(statement, **given, most=_ALL))
            while some := list(islice(roots, _BATCH)):
                yield some
            return
        seen: set[SearchNode] = set()
        most = _FIRST_TREES * limit
        while True:
            found = self._fetch(statement, **given, most=most)
            yield sorted(set(found) - seen, key=_uuid_of)
            if len(found) < most:
                return
            seen.update(found)
            most *= _MORE_TREES

    def let_go(self) -> None:
        """Take the trees apart when the search is over: what points up and down would stay in memory for long."""
        for node in self._planter.nodes.values():
            node.part()

    def _fetch(self, statement: LiteralString, **parameters: Any) -> list[SearchNode]:
        return list(self._planter.plant(self._work.stream(statement, **parameters)))

    def _choose(
        self, parts: Sequence[_Part], trees: Mapping[str, SearchNode]
    ) -> tuple[LiteralString, dict[str, Any], _Part | None]:
        """Return the statement to begin with, what leads it, and the part that this is."""
        if trees and all(not sharing for sharing in self._shared_with(trees)):
            return _BY_TREE, {"trees": [min(root.uuid for root in trees.values())]}, None
        if not parts:
            return _FROM_ALL, {}, None
        if len(parts) == 1:
            return parts[0].statement, parts[0].row(), parts[0]
        rows = [{"number": number, **part.row()} for number, part in enumerate(parts)]
        counts = {row["number"]: row["count"] for row in self._work.rows(_COUNT, parts=rows)}
        lead = parts[min(counts, key=lambda number: (counts[number], number))]
        return lead.statement, lead.row(), lead

    def _shared_with(self, trees: Mapping[str, SearchNode]) -> Iterator[bool]:
        """Tell of each tree whether something in it may be shared with others."""
        for suffix, root in trees.items():
            yield bool(suffix) and any(node.shares for node in root.tree())

    def _parts(self, request: CandidateRequest) -> Iterator[_Part]:
        sharing = self.sharing_nodes()
        for group in request.groups:
            for name, amount in group.resources.items():
                served = _aggregates(node for node in sharing if fits(node, name, amount))
                yield _Part(name=name, amount=amount, aggregates=served)
            for traits in group.required_traits:
                served = _aggregates(node for node in sharing if not node.traits.isdisjoint(traits))
                yield _Part(traits=tuple(sorted(traits)), aggregates=served)
            for wanted in group.member_of:
                served = _aggregates(node for node in sharing if not node.aggregates.isdisjoint(wanted))
                yield _Part(aggregates=tuple(sorted({*wanted, *served})))
        for name in request.root_required:
            yield _Part(traits=(name,))


def warm_up(work: Work) -> None:
    """Have the database plan the ways to the trees."""
    # The ways by which most requests go; a search has time enough to plan another.
    StoredTopology(work).sharing_nodes()
    part = _Part("", 1, ("",), ("",)).row()
    work.run(_COUNT, parts=[{"number": 0, **part}])
    work.run(_BY_ROOM, lead=part, parts=[part], most=0)


def _aggregates(nodes: Iterable[SearchNode]) -> tuple[str, ...]:
    return tuple(sorted(set(chain.from_iterable(node.aggregates for node in nodes))))


def _uuid_of(node: SearchNode) -> str:
    return node.uuid
