"""What every provider in memory is: a node of a tree, with what an answer to a search says of it."""

from collections.abc import Mapping, Sequence
from typing import Self

from etcdcompute.placement.candidates.request import ProviderSummary


class TreeNode:
    """A provider with its place in its tree.

    What it has is replaced, never changed: summaries, which are kept until something is, show it.
    """

    __slots__ = ("_summary", "_tree", "capacities", "children", "name", "parent", "root", "traits", "used", "uuid")

    def __init__(self: Self, uuid: str, name: str) -> None:
        self.uuid = uuid
        self.name = name
        self.parent: Self | None = None
        self.root: Self = self
        self.children: dict[str, Self] = {}
        self.capacities: Mapping[str, int] = {}
        self.used: Mapping[str, int] = {}
        self.traits: frozenset[str] = frozenset()
        self._summary: ProviderSummary | None = None
        self._tree: Sequence[Self] | None = None

    def adopt(self, child: Self) -> None:
        """Have another below this one."""
        self.children[child.uuid] = child
        self._forget_trees()

    def disown(self, child: Self) -> None:
        """Have another, which may be, not below this one any more."""
        self.children.pop(child.uuid, None)
        self._forget_trees()

    def _forget_trees(self) -> None:
        node: TreeNode | None = self
        while node is not None:
            node._tree = None
            node = node.parent

    def tree(self) -> Sequence[Self]:
        """Return this node and all below it, parents first; it is not to be changed."""
        if not self.children:
            return (self,)
        if self._tree is None:
            self._tree = self._walk()
        return self._tree

    def _walk(self) -> Sequence[Self]:
        # The standard routes set no limit to depth, Python does.
        nodes, waiting = [], [self]
        while waiting:
            node = waiting.pop()
            nodes.append(node)
            if node.children:
                waiting.extend(reversed(node.children.values()))
        return nodes

    def summary(self) -> ProviderSummary:
        """Return what an answer to a search says of it."""
        summary = self._summary
        if summary is None:
            parent = self.parent.uuid if self.parent else None
            summary = ProviderSummary(self.uuid, self.capacities, self.used, self.traits, parent, self.root.uuid)
            self._summary = summary
        return summary

    def cut_off(self, nowhere: Self) -> None:
        """Lead to itself no more, which would keep it until Python looks through everything for garbage."""
        self.root = nowhere
        self._tree = None

    def forget_summary(self) -> None:
        """Drop the summary: what it says has changed."""
        self._summary = None
