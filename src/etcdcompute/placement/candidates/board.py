"""A filling in the making: which provider has been given to which slots, and what that leaves for others."""

from typing import Generic, TypeVar

from etcdcompute.placement.candidates.rules import Rules
from etcdcompute.placement.candidates.topology import ProviderLike

P = TypeVar("P", bound=ProviderLike)


class Board(Generic[P]):
    """Keeps what slots take of the same provider within its room, and apart what has to be."""

    __slots__ = ("_apart", "_contested", "_demands", "_in_use", "_one_per_tree", "_slots", "_taken", "_took")

    def __init__(self, rules: Rules) -> None:
        self._slots = rules.slots
        self._demands = rules.demands
        self._contested = rules.contested
        self._apart = frozenset(rules.apart)
        self._one_per_tree = rules.one_per_tree
        self._taken: dict[tuple[P, str], int] = {}
        self._took: set[P] = set()
        # By root: the provider of the tree that is in use, as often as it is.
        self._in_use: dict[P, list[P]] = {}

    def allows(self, slot: int, node: P) -> bool:
        """Whether a slot can be given a provider besides what has been given."""
        if self._one_per_tree and self._slots[slot].resources:
            in_use = self._in_use.get(node.root)
            if in_use and in_use[0] is not node:
                return False
        return self.has_place(slot, node)

    def has_place(self, slot: int, node: P) -> bool:
        """Whether a provider itself can be given to one slot more."""
        if slot in self._apart and node in self._took:
            return False
        for name, amount in self._demands[slot]:  # noqa: SIM110 - the innermost of all loops
            if amount > node.room[name] - self._taken.get((node, name), 0):
                return False
        return True

    def places(self, slot: int, node: P) -> int:
        """Return how many slots like this one can still be given a provider."""
        if slot in self._apart:
            return 0 if node in self._took else 1
        left = ((node.room[name] - self._taken.get((node, name), 0), amount) for name, amount in self._demands[slot])
        return min(free // amount for free, amount in left)

    def give(self, slot: int, node: P) -> None:
        """Give a slot a provider."""
        if slot in self._apart:
            self._took.add(node)
        for name, amount in self._demands[slot]:
            self._taken[node, name] = self._taken.get((node, name), 0) + amount
        if self._one_per_tree and self._slots[slot].resources:
            self._in_use.setdefault(node.root, []).append(node)

    def take_back(self, slot: int, node: P) -> None:
        """Undo `give`."""
        if slot in self._apart:
            self._took.discard(node)
        for name, amount in self._demands[slot]:
            self._taken[node, name] -= amount
        if self._one_per_tree and self._slots[slot].resources:
            self._in_use[node.root].pop()

    def state(self, node: P) -> tuple[int, ...]:
        """Return what a provider has given."""
        return (node in self._took, *(self._taken.get((node, name), 0) for name in self._contested))
