"""Where to look: the roots of the trees that may have what is hardest to find.

Each part of a request (an amount of a class, a trait, an aggregate, a tree) names providers one of which every
candidate needs. A candidate's anchor is the root of such a provider, or of a tree that such a provider shares with.
So the part that leaves the fewest providers is enough to look at.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final, Generic, TypeVar

from etcdcompute.placement.candidates.fit import fits
from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.candidates.topology import IndexedTopology, ProviderLike

P = TypeVar("P", bound=ProviderLike)

# How many providers to look at at once: few where few candidates are wanted, many where the rest is fruitless.
_FIRST: Final = 16
_MOST: Final = 1024


class _Source(Generic[P]):
    """The providers that one part of the request leaves, and the members of the trees that they share with."""

    __slots__ = ("count", "nodes")

    def __init__(self, topology: IndexedTopology[P], nodes: Sequence[Collection[P]], sharing: Sequence[P] = ()) -> None:
        served = {aggregate: topology.members(aggregate) for node in sharing for aggregate in node.aggregates}
        self.nodes: list[Collection[P]] = [*nodes, *(members.values() for members in served.values())]
        self.count = sum(map(len, self.nodes))


def anchors(topology: IndexedTopology[P], request: CandidateRequest, trees: Mapping[str, P]) -> Iterator[list[P]]:
    """Yield the roots to look at, some at a time, each once; `trees` holds those that groups have to be below."""
    source = min(_sources(topology, request, trees), key=lambda source: source.count, default=None)
    nodes = iter(topology.all_nodes()) if source is None else chain.from_iterable(source.nodes)
    required, forbidden = request.root_required, request.root_forbidden
    seen: set[P] = set()
    size = _FIRST
    while some := [node.root for node in islice(nodes, size)]:
        size = min(4 * size, _MOST)
        roots = [root for root in dict.fromkeys(some) if root not in seen]
        seen.update(roots)
        if required or forbidden:
            roots = [root for root in roots if required <= root.traits and root.traits.isdisjoint(forbidden)]
        yield roots


def _sources(topology: IndexedTopology[P], request: CandidateRequest, trees: Mapping[str, P]) -> Iterator[_Source[P]]:
    sharing = list(topology.sharing_nodes())
    for name, amount in dict.fromkeys(part for group in request.groups for part in group.resources.items()):
        fitting = [node for node in sharing if fits(node, name, amount)]
        yield _Source(topology, topology.with_room(name, amount), fitting)
    for traits in dict.fromkeys(traits for group in request.groups for traits in group.required_traits):
        yield _Source(
            topology,
            [topology.providers_having(name).values() for name in traits],
            [node for node in sharing if not node.traits.isdisjoint(traits)],
        )
    for aggregates in dict.fromkeys(each for group in request.groups for each in group.member_of):
        yield _Source(
            topology,
            [topology.members(name).values() for name in aggregates],
            [node for node in sharing if not node.aggregates.isdisjoint(aggregates)],
        )
    for suffix, root in trees.items():
        yield _Source(topology, [[root]], [node for node in root.tree() if node.shares] if suffix else ())
    for name in request.root_required:
        yield _Source(topology, [topology.providers_having(name).values()])
