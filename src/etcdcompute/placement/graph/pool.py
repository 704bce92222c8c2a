"""Equal values kept once: thousands of hosts have the same traits and the same inventories."""

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MOST: Final = 4096


class Pool(Generic[T]):
    """Values by what they are equal in; it is forgotten now and then, so that it holds little that nobody uses."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[Hashable, T] = {}

    def same(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value that was made first for an equal key."""
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            found = self._kept[key] = make()
        return found
