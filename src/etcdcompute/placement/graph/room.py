"""An index: which providers have room for a claim of some size. The full ones cost a search nothing."""

from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

N = TypeVar("N")


class RoomIndex(Generic[N]):
    """Providers by resource class and by the size of their room: powers of two, so that few claims move one."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        # By class, then by the number of bits that the room has.
        self._levels: dict[str, dict[int, dict[N, None]]] = {}

    def move(self, node: N, name: str, before: int, after: int) -> None:
        """Take in that a provider's room has changed; none is 0 or less."""
        old, new = max(before, 0).bit_length(), max(after, 0).bit_length()
        if old == new:
            return
        levels = self._levels.setdefault(name, {})
        if old:
            level = levels[old]
            del level[node]
            if not level:
                del levels[old]
        if new:
            levels.setdefault(new, {})[node] = None
        if not levels:
            del self._levels[name]

    def at_least(self, name: str, amount: int) -> Sequence[Collection[N]]:
        """Return the providers with room for an amount, and some with no less than half of it; most room first."""
        levels = self._levels.get(name, {})
        least = amount.bit_length()
        return [levels[bits] for bits in sorted(levels, reverse=True) if bits >= least]
