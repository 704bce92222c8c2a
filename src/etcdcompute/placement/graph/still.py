"""A copy of the graph for long computations: what searches need of it, untouched by later changes.

Making it takes a microsecond or two per provider, so that nobody else waits for what is then computed on it.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

from etcdcompute.placement.candidates.topology import InventoryLike, Member


class StillNode:
    """One provider as it was. Only what changes in place is copied: documents' parts are replaced as a whole.

    References lead up only, so that all of it goes when nobody needs it, without waiting for the garbage collector.
    """

    __slots__ = (
        "_root",
        "aggregates",
        "capacities",
        "inventories",
        "name",
        "parent",
        "shares",
        "traits",
        "used",
        "uuid",
    )

    def __init__(self, node: Member) -> None:
        self.uuid = node.uuid
        self.name = node.name
        self.parent: StillNode | None = None
        self._root: StillNode | None = None
        self.inventories: Mapping[str, InventoryLike] = node.inventories
        self.capacities: Mapping[str, int] = node.capacities
        self.used: Mapping[str, int] = dict(node.used)
        self.traits = node.traits
        self.aggregates = node.aggregates
        self.shares = node.shares

    @property
    def root(self) -> "StillNode":
        """The top of its tree."""
        return self._root or self


class StillGraph:
    """A topology that does not change."""

    def __init__(self, nodes: Iterable[Member]) -> None:
        # In one order: what is shown as an example shall not depend on who was there first, here or in another process.
        listed = sorted(nodes, key=attrgetter("uuid"))
        self._nodes = {node.uuid: StillNode(node) for node in listed}
        for node in listed:
            still = self._nodes[node.uuid]
            if node.parent is not None:
                still.parent = self._nodes[node.parent.uuid]
                still._root = self._nodes[node.root.uuid]
        self._by_aggregate: dict[str, dict[str, StillNode]] = {}
        for each in self._nodes.values():
            for aggregate in each.aggregates:
                self._by_aggregate.setdefault(aggregate, {})[each.uuid] = each

    def node(self, uuid: str) -> StillNode | None:
        """Return a provider's node, None where there is none."""
        return self._nodes.get(uuid)

    def providers_with(self, resource_class: str) -> Mapping[str, StillNode]:
        """Return the providers that have inventory of a class, by uuid."""
        return {uuid: node for uuid, node in self._nodes.items() if resource_class in node.inventories}

    def members(self, aggregate: str) -> Mapping[str, StillNode]:
        """Return the providers in an aggregate, by uuid."""
        return self._by_aggregate.get(aggregate, {})

    def all_nodes(self) -> Iterable[StillNode]:
        """Return all providers."""
        return self._nodes.values()

    def sharing_nodes(self) -> Iterable[StillNode]:
        """Return the providers that share through their aggregates."""
        return [node for node in self._nodes.values() if node.shares]
