"""How many more times a request fits, each time as a claim of its own.

Slots that ask for the same of the same providers are a family. Where families do not get into each other's way, each
can be counted by itself, exactly: a tree has room for as many requests as its scarcest family. Where they do (classes
that several groups ask for, groups that stay apart, subtrees, traits that providers have between them), to know the
most is a packing problem: candidates are then given out one after another, as many of each at once as fit, which is
sure to be possible, and held against a bound that nothing can exceed. If the two meet, that is exact, too.

What is shared counts for every tree that it is shared with. A tree's own figure says how many fit there if nothing
goes elsewhere; in the total what is shared is given out once.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.candidates.topology import Member, Topology
from etcdcompute.placement.insight.capacity_fill import UNBOUNDED, Family, Stock, TreeFill
from etcdcompute.placement.insight.flow import max_flow
from etcdcompute.placement.insight.survey import Forest, survey


@dataclass(frozen=True, slots=True)
class RootCapacity:
    """How many more fit in one tree, and what is shared with it, if nothing goes elsewhere: exactly, or at least."""

    uuid: str
    name: str
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many more fit in all: `total` for sure, and never more than `at_most`. `roots` have the most first."""

    total: int
    at_most: int
    exact: bool
    roots: tuple[RootCapacity, ...]


def compute_capacity(topology: Topology[Member], request: CandidateRequest) -> Capacity:
    """Return how many more of a request fit, all of its groups each time. `limit` bounds the roots, not the count."""
    forest = Forest(topology)
    fill = TreeFill(request, survey(topology, forest, request))
    bounds = {root: fill.bounds(root) for root in fill.roots if _may_anchor(root, request)}
    bounds = {root: (low, high) for root, (low, high) in bounds.items() if high}
    total = at_most = 0
    for roots in _connected(fill.families, bounds):
        low, high = _total(fill, roots, bounds)
        total, at_most = total + low, at_most + high
    counts = [RootCapacity(root.uuid, root.name, low, low == high) for root, (low, high) in bounds.items() if low]
    counts.sort(key=lambda each: (-each.count, each.name))
    return Capacity(total, at_most, total == at_most, tuple(counts[: request.limit]))


def _may_anchor(root: Member, request: CandidateRequest) -> bool:
    return request.root_required <= root.traits and root.traits.isdisjoint(request.root_forbidden)


def _connected(families: Iterable[Family], roots: Collection[Member]) -> Iterable[list[Member]]:
    """Yield trees that have providers in common, directly or through others, together; most are alone."""
    leader = {root: root for root in roots}

    def find(root: Member) -> Member:
        while leader[root] is not root:
            leader[root] = leader[leader[root]]
            root = leader[root]
        return root

    user: dict[Member, Member] = {}
    for family in families:
        for root in roots:
            for node in family.by_root[root]:
                leader[find(root)] = find(user.setdefault(node, root))
    together: dict[Member, list[Member]] = {}
    for root in roots:
        together.setdefault(find(root), []).append(root)
    return together.values()


def _total(fill: TreeFill, roots: list[Member], bounds: dict[Member, tuple[int, int]]) -> tuple[int, int]:
    """Return how many requests fit in trees that share, for sure and at most."""
    if len(roots) == 1:
        return bounds[roots[0]]
    shared = _used_by_several(fill.families, roots)
    sharing = [family for family in fill.families if any(shared.intersection(family.by_root[root]) for root in roots)]
    if len(sharing) == 1 and sharing[0].count == 1 and all(fill.are_independent(root) for root in roots):
        exact = _flow(fill, sharing[0], roots, shared)
        return exact, exact
    stock = Stock()
    most = [sum(high for _, high in map(bounds.__getitem__, roots))]
    for family in fill.families:
        nodes = {node for root in roots for node in family.by_root[root]}
        most.append(sum(stock.times(node, family.resources) for node in nodes) // family.count)
    roots = sorted(roots, key=lambda root: root.name)
    given = 0
    # Nobody takes of what is shared before all have taken of their own.
    for outside in (shared, frozenset[Member]()):
        given += sum(fill.give_out(root, stock, bounds[root][1], outside) for root in roots)
    return given, max(given, min(most))


def _used_by_several(families: Iterable[Family], roots: Iterable[Member]) -> frozenset[Member]:
    users: dict[Member, Member] = {}
    several = set()
    for root in roots:
        for node in {node for family in families for node in family.by_root[root]}:
            if users.setdefault(node, root) is not root:
                several.add(node)
    return frozenset(several)


def _flow(fill: TreeFill, family: Family, roots: Iterable[Member], shared: frozenset[Member]) -> int:
    """Return the exact total where one family alone draws on what is shared: all else bounds each tree by itself."""
    stock = Stock()
    own_total = 0
    demands: dict[frozenset[Member], int] = {}
    for root in roots:
        others = [each.repeats(each.by_root[root], stock) for each in fill.families if each is not family]
        wanted = min(others, default=UNBOUNDED)
        nodes = family.by_root[root]
        own = min(wanted, sum(stock.times(node, family.resources) for node in nodes if node not in shared))
        own_total += own
        reached = frozenset(node for node in nodes if node in shared)
        demands[reached] = demands.get(reached, 0) + wanted - own
    supplies = {node: stock.times(node, family.resources) for node in shared}
    return own_total + max_flow(demands, supplies, {reached: reached for reached in demands})
