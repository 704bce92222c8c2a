"""How much work a search may be. Some requests are puzzles: all that is known to be hopeless is left out, yet no
search can do without trying, and none may hold up all others.
"""

from typing import Final

from etcdcompute.errors import InvalidInput

MOST_TRIES: Final = 100_000
MOST_CANDIDATES: Final = 250_000
# What a tree may take without being a puzzle: many trees are not one.
_TRIES_A_TREE: Final = 50
# Looking whether a case is worth trying takes as long as so many tries.
_TRIES_A_CASE: Final = 10


class TooHard(InvalidInput):
    """The search was given up: whether there are (more) candidates is not known."""

    code = "too_hard"


class TooMany(InvalidInput):
    """There are more candidates than one answer can hold."""

    code = "too_many"


class Effort:
    """Counts the providers that were tried for slots; TooHard where too many in a row led to nothing."""

    __slots__ = ("_most", "_until", "tries")

    def __init__(self, most: int = MOST_TRIES) -> None:
        self.tries = 0
        self._most = most
        self._until = most

    def begin_tree(self) -> None:
        """Allow for the tries that any tree takes."""
        self._until += _TRIES_A_TREE

    def begin_case(self) -> None:
        """Count the look at one case."""
        self.spend(_TRIES_A_CASE)

    def spend(self, tries: int = 1) -> None:
        """Count tries."""
        self.tries += tries
        if self.tries > self._until:
            raise TooHard(
                f"The search for allocation candidates was given up after {self._most} tries that led to nothing: how "
                "these groups fit together is a puzzle. Ask for fewer of them, or narrow them by in_tree, member_of or "
                "required."
            )

    def succeed(self) -> None:
        """Start counting again: the tries led to a candidate."""
        self._until = self.tries + self._most
