"""Where to look for candidates, asked of the database; whether and how a request fits is the common search's to say.

Each part of a request (an amount of a class, traits, aggregates, a tree) names providers one of which every candidate
needs, in its tree or among what is shared with it. The part that leaves the fewest providers leads to trees by an
index, and the database keeps those of them in which every other part finds something, too. Only these are fetched, as a
whole and as they are wanted: a few where few candidates are asked for. Which part leads decides how long it takes,
not what it finds.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, LiteralString

from etcdcompute.placement.candidates.fit import fits
from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.nodes import MEMBERS, TREES, Planter, SearchNode
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE

_ALL: Final = 2**31 - 1
_BATCH: Final = 512
# How far the database counts to find out what is rare.
_COUNTED: Final = 10_000
# Trees to look at first for each candidate that is wanted, how many of them to fetch, and how many times as many next.
_FIRST_LOOK: Final = 50
_FIRST_TREES: Final = 2
_MORE_TREES: Final = 8
# How long a part that was found to be the rarest leads the same request without being counted, in seconds, and for how
# many requests that is kept. As databases do with plans: flavors are few, and a graph seldom changes its mind.
_LEADS_S: Final = 10.0
_LEADS_KEPT: Final = 256

_COUNT: Final = """
UNWIND $parts AS part
RETURN part.number AS number,
       COUNT { MATCH (i:Inventory) WHERE i.resource_class = part.name AND i.free >= part.amount RETURN i LIMIT $most }
       + COUNT { MATCH (t:Trait)<-[:HAS]-(p) WHERE t.name IN part.traits RETURN p LIMIT $most }
       + COUNT { MATCH (a:Aggregate)<-[:MEMBER_OF]-(p) WHERE a.uuid IN part.aggregates RETURN p LIMIT $most } AS count
"""
# From the roots of trees to those that are kept, and what is in these. Patterns begin at members, which are known:
# without labels there is no index by which the planner could come from the other side, through the whole graph.
_CHECK: Final[LiteralString] = (
    """
WITH DISTINCT p.root_uuid AS root_uuid LIMIT $examined
"""
    + MEMBERS
    + """
WITH members
WHERE all(part IN $parts WHERE any(m IN members WHERE
          EXISTS { (m)-[:PROVIDES]->(i)
                   WHERE i.resource_class = part.name AND i.free >= part.amount AND i.max_unit >= part.amount }
          OR EXISTS { (m)-[:HAS]->(t) WHERE t.name IN part.traits }
          OR EXISTS { (m)-[:MEMBER_OF]->(a) WHERE a.uuid IN part.aggregates }))
WITH members LIMIT $most
"""
    + TREES
)
_BY_ROOM: Final[LiteralString] = (
    """
MATCH (i:Inventory)
WHERE i.resource_class = $lead.name AND i.free >= $lead.amount AND i.max_unit >= $lead.amount
MATCH (i)<-[:PROVIDES]-(p)
"""
    + _CHECK
)
_BY_TRAIT: Final[LiteralString] = "MATCH (t:Trait)<-[:HAS]-(p) WHERE t.name IN $lead.traits" + _CHECK
_BY_AGGREGATE: Final[LiteralString] = "MATCH (a:Aggregate)<-[:MEMBER_OF]-(p) WHERE a.uuid IN $lead.aggregates" + _CHECK
# A part that shared providers satisfy, too, leads to those whose trees they share with.
_BY_ANY: Final[LiteralString] = (
    """
CALL {
  MATCH (i:Inventory)<-[:PROVIDES]-(p)
  WHERE i.resource_class = $lead.name AND i.free >= $lead.amount AND i.max_unit >= $lead.amount
  RETURN p
  UNION ALL
  MATCH (t:Trait)<-[:HAS]-(p) WHERE t.name IN $lead.traits
  RETURN p
  UNION ALL
  MATCH (a:Aggregate)<-[:MEMBER_OF]-(p) WHERE a.uuid IN $lead.aggregates
  RETURN p
}
"""
    + _CHECK
)
_BY_TREE: Final[LiteralString] = "MATCH (p:ResourceProvider) WHERE p.uuid IN $lead.trees" + _CHECK
_FROM_ALL: Final[LiteralString] = "MATCH (p:ResourceProvider) WHERE p.uuid = p.root_uuid" + _CHECK
_TREE_OF: Final[LiteralString] = (
    """
MATCH (p:ResourceProvider {uuid: $uuid})
WITH p.root_uuid AS root_uuid
"""
    + MEMBERS
    + TREES
)
_SHARING: Final[LiteralString] = (
    """
MATCH (:Trait {name: $trait})<-[:HAS]-(p)
WITH DISTINCT p.root_uuid AS root_uuid
"""
    + MEMBERS
    + TREES
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


class Leads:
    """Which part of a request was the rarest when it was last counted. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[_Part, ...], tuple[int, float]] = {}

    def find(self, parts: tuple[_Part, ...]) -> int | None:
        """Return the number of the part that leads such a request; None where it has to be counted (again)."""
        number, until = self._known.get(parts, (None, 0.0))
        return number if self._clock() < until else None

    def keep(self, parts: tuple[_Part, ...], number: int) -> None:
        """Have a part lead for a while."""
        if len(self._known) >= _LEADS_KEPT:
            self._known.clear()
        self._known[parts] = (number, self._clock() + _LEADS_S)


class StoredTopology:
    """The graph in the database as a search sees it: what has been fetched of it, and the way to the rest."""

    def __init__(self, work: Work, leads: Leads) -> None:
        self._work = work
        self._leads = leads
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
        self._fetch(_FROM_ALL, parts=[], examined=_ALL, most=_ALL)
        return self._planter.nodes.values()

    def anchors(self, request: CandidateRequest, trees: Mapping[str, SearchNode]) -> Iterator[list[SearchNode]]:
        """Yield the roots to look at, some at a time, each once; `trees` holds those that groups have to be below."""
        parts = list(dict.fromkeys(self._parts(request)))
        found = self._all(parts, trees) if request.limit is None else self._few(parts, trees, request.limit)
        for roots in found:
            yield [
                root
                for root in roots
                if request.root_required <= root.traits and root.traits.isdisjoint(request.root_forbidden)
            ]

    def _all(self, parts: Sequence[_Part], trees: Mapping[str, SearchNode]) -> Iterator[list[SearchNode]]:
        """Yield the roots of all trees that may have candidates, as the database finds them."""
        statement, given = self._choose(parts, trees, self._rarest)
        roots = self._planter.plant(self._work.stream(statement, **given, examined=_ALL, most=_ALL))
        while some := list(islice(roots, _BATCH)):
            yield some

    def _few(self, parts: Sequence[_Part], trees: Mapping[str, SearchNode], limit: int) -> Iterator[list[SearchNode]]:
        """Yield some roots, and more as long as they are asked for.

        Most requests fit nearly everywhere: then the first trees that come along will do, whatever leads to them.
        Otherwise it is worth while to find out what is rare.
        """
        statement, given = self._choose(parts, trees, _likely_rare)
        examined, most = _FIRST_LOOK * limit, _FIRST_TREES * limit
        seen: set[SearchNode] = set()
        while True:
            found = self._fetch(statement, **given, examined=examined, most=most)
            yield sorted(set(found) - seen, key=_uuid_of)
            if examined == _ALL and len(found) < most:
                return
            seen.update(found)
            if examined < _ALL:
                statement, given = self._choose(parts, trees, self._rarest)
                examined = _ALL
            most *= _MORE_TREES

    def let_go(self) -> None:
        """Let go of the trees when the search is over."""
        self._planter.let_go()

    def _fetch(self, statement: LiteralString, **parameters: Any) -> list[SearchNode]:
        return list(self._planter.plant(self._work.stream(statement, **parameters)))

    def _choose(
        self,
        parts: Sequence[_Part],
        trees: Mapping[str, SearchNode],
        pick: Callable[[Sequence[_Part]], _Part],
    ) -> tuple[LiteralString, dict[str, Any]]:
        """Return the statement to begin with, and its parameters: what leads it, and what else is wanted."""
        if trees and not any(self._shared_with(trees)):
            lead = {"trees": [min(root.uuid for root in trees.values())]}
            return _BY_TREE, {"lead": lead, "parts": [part.row() for part in parts]}
        if not parts:
            return _FROM_ALL, {"parts": []}
        led = parts[0] if len(parts) == 1 else pick(parts)
        # What leads is satisfied.
        return led.statement, {"lead": led.row(), "parts": [part.row() for part in parts if part is not led]}

    def _rarest(self, parts: Sequence[_Part]) -> _Part:
        """Return the part that the fewest providers satisfy; the first of those that so many do."""
        asked = tuple(parts)
        number = self._leads.find(asked)
        if number is None:
            number = self._count_out(asked)
            self._leads.keep(asked, number)
        return parts[number]

    def _count_out(self, parts: Sequence[_Part]) -> int:
        rows = [{"number": number, **part.row()} for number, part in enumerate(parts)]
        found = self._work.rows(_COUNT, parts=rows, most=_COUNTED)
        return min((int(count), int(number)) for number, count in found)[1]

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
    StoredTopology(work, Leads()).sharing_nodes()
    part = _Part("", 1, ("",), ("",)).row()
    work.run(_COUNT, parts=[{"number": 0, **part}], most=1)
    work.run(_BY_ROOM, lead=part, parts=[part], examined=0, most=0)


def _likely_rare(parts: Sequence[_Part]) -> _Part:
    """Return a part that few providers satisfy, without looking: amounts are what most of them have."""
    return min(parts, key=lambda part: bool(part.name))


def _aggregates(nodes: Iterable[SearchNode]) -> tuple[str, ...]:
    return tuple(sorted(set(chain.from_iterable(node.aggregates for node in nodes))))


def _uuid_of(node: SearchNode) -> str:
    return node.uuid
