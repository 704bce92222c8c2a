"""Which providers can fill a slot, each by itself."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from etcdcompute.placement.candidates.fit import has_traits, in_aggregates, suits, usable
from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup, Slot
from etcdcompute.placement.candidates.topology import ProviderLike

P = TypeVar("P", bound=ProviderLike)


class Reach(Generic[P]):
    """The providers that a candidate may use: a tree, and what other trees share with any member of it."""

    __slots__ = ("anchor", "shared", "tree")

    def __init__(self, anchor: P, sharing: Mapping[str, Sequence[P]]) -> None:
        self.anchor = anchor
        self.tree = anchor.tree()
        self.shared: Sequence[P] = _shared(anchor, self.tree, sharing) if sharing else ()

    @property
    def meets_sharing(self) -> bool:
        """Whether other trees, too, may use some of the providers."""
        return bool(self.shared) or any(member.shares for member in self.tree)


def _shared(anchor: P, tree: Sequence[P], sharing: Mapping[str, Sequence[P]]) -> list[P]:
    return list(
        dict.fromkeys(
            node
            for member in tree
            for aggregate in member.aggregates
            for node in sharing.get(aggregate, ())
            if node.root is not anchor
        )
    )


class Chooser(Generic[P]):
    """Picks the providers that can fill one slot. `only_tree` is the root of the tree that they have to be in.

    Choosers with the same `key` pick the same.
    """

    __slots__ = ("_group", "_only_tree", "_particular", "_resources", "key")

    def __init__(self, slot: Slot, only_tree: P | None) -> None:
        group = slot.group
        self._group = group
        self._resources = tuple(slot.resources.items())
        self._only_tree = only_tree
        self._particular = _particular(group)
        self.key = (
            bool(group.suffix),
            self._resources,
            group.required_traits,
            group.forbidden_traits,
            group.member_of,
            group.forbidden_aggregates,
            only_tree,
        )

    @property
    def plain(self) -> bool:
        """Whether all it wants is an amount of one class, of any provider in the tree."""
        return not self._group.suffix and not self._particular and self._only_tree is None

    def choices(self, reach: Reach[P]) -> Sequence[P]:
        """Return the providers, the tree's first."""
        if not self._group.suffix:
            return self._parts(reach)
        nodes = self._fitting([*reach.tree, *reach.shared] if reach.shared else reach.tree)
        if self._only_tree is not None:
            nodes = [node for node in nodes if node.root is self._only_tree]
        if self._particular:
            nodes = [node for node in nodes if suits(node, self._group)]
        return nodes

    def _parts(self, reach: Reach[P]) -> Sequence[P]:
        """Return the providers that can give one class of the group without a suffix.

        An aggregate of the root spans its tree, for wanted and unwanted aggregates alike. What is shared has to be in
        a wanted aggregate itself.
        """
        group, anchor = self._group, reach.anchor
        if self._only_tree not in (None, anchor):
            return ()
        own = self._fitting(reach.tree)
        shared = self._fitting(reach.shared) if reach.shared and self._only_tree is None else ()
        if self._particular:
            if not anchor.aggregates.isdisjoint(group.forbidden_aggregates):
                return ()
            if not in_aggregates(anchor, group):
                own = [node for node in own if in_aggregates(node, group)]
            own = [node for node in own if usable(node, group)]
            shared = [node for node in shared if in_aggregates(node, group) and usable(node, group)]
            if len(group.resources) == 1:
                own = [node for node in own if has_traits(node.traits, group)]
                shared = [node for node in shared if has_traits(node.traits, group)]
        return [*own, *shared] if shared else own

    def _fitting(self, nodes: Sequence[P]) -> Sequence[P]:
        for name, amount in self._resources:
            nodes = fitting(nodes, name, amount)
        return nodes


def fitting(nodes: Sequence[P], name: str, amount: int) -> list[P]:
    """Return those of the providers that can give an amount of a class."""
    # What `fits` says, by what is kept ready for it: this is where most of a search's time goes.
    return [
        node
        for node in nodes
        if node.room.get(name, 0) >= amount and (not node.coarse or node.inventories[name].admits(amount))
    ]


class Loners(Generic[P]):
    """Tells which providers that have nothing but themselves to offer can fill all slots at once."""

    def __init__(self, request: CandidateRequest, trees: Mapping[str, P]) -> None:
        self._groups = request.groups
        self._particular = [group for group in request.groups if _particular(group)]
        self._only_trees = set(trees.values())
        self._none = request.isolate and sum(1 for group in request.groups if group.suffix) > 1
        self._totals: dict[str, int] = {}
        for group in request.groups:
            for name, amount in group.resources.items():
                self._totals[name] = self._totals.get(name, 0) + amount

    def able(self, nodes: list[P]) -> list[P]:
        """Return those of the providers that can."""
        if self._none:
            return []
        for name, amount in self._totals.items():
            nodes = [node for node in nodes if node.room.get(name, 0) >= amount]
        nodes = [node for node in nodes if not node.coarse or self._admitted(node)]
        for group in self._particular:
            nodes = [node for node in nodes if suits(node, group)]
        for only in self._only_trees:
            nodes = [node for node in nodes if node is only]
        return nodes

    def _admitted(self, node: P) -> bool:
        return all(
            node.inventories[name].admits(amount) for group in self._groups for name, amount in group.resources.items()
        )


def _particular(group: RequestGroup) -> bool:
    """Whether a group wants more than resources."""
    return bool(group.required_traits or group.forbidden_traits or group.member_of or group.forbidden_aggregates)
