"""Whether slots that are not yet filled can still be: what is certainly hopeless is not tried.

Slots that need providers of their own compete for them one to one; so do like slots, with as many places at a
provider as it has room for. For both a *matching* seats every open slot at some provider. Where there is none, no
filling exists; where one is kept up to date while slots are filled, nothing leads into a dead end of this kind.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from etcdcompute.placement.candidates.board import Board
from etcdcompute.placement.candidates.rules import Rules
from etcdcompute.placement.candidates.topology import ProviderLike

P = TypeVar("P", bound=ProviderLike)
Choices = Sequence[Sequence[P]]


def hopeful(rules: Rules, choices: Choices[P]) -> bool:
    """Whether nothing speaks against a filling from the outset."""
    return all(choices) and _enough(rules, choices) and Prospects(rules, choices, Board(rules)).seat_all()


def _enough(rules: Rules, choices: Choices[P]) -> bool:
    """Whether all slots together do not ask for more of a class than all their choices have."""
    for name in rules.contested:
        wanted = sum(slot.resources.get(name, 0) for slot in rules.slots)
        # Like slots share their choices.
        asking = {id(nodes): nodes for slot, nodes in zip(rules.slots, choices, strict=True) if name in slot.resources}
        able = {node for nodes in asking.values() for node in nodes}
        if sum(node.room[name] for node in able) < wanted:
            return False
    return True


class Prospects(Generic[P]):
    """Fills a board, and keeps a seat for each slot that is still open."""

    __slots__ = ("_board", "_choices", "_competing", "_seat_of", "_seated")

    def __init__(self, rules: Rules, choices: Choices[P], board: Board[P]) -> None:
        self._board = board
        self._choices = choices
        # By slot, the number of the family that it competes in.
        self._competing = {
            slot: number
            for number, family in enumerate(rules.families)
            if any(len(choices[slot]) < len(family) for slot in family)
            for slot in family
        }
        self._seat_of: dict[int, P] = {}
        self._seated: dict[tuple[int, P], set[int]] = {}

    def seat_all(self) -> bool:
        """Seat all slots; False where that is impossible."""
        return all(self._seat(slot) for slot in self._competing)

    def give(self, slot: int, node: P) -> bool:
        """Give a slot a provider; False, and nothing done, where other slots would then lack a seat."""
        self._board.give(slot, node)
        if not self._competing:
            return True
        if slot in self._competing:
            self._unseat(slot)
        moved = self._crowded_out(node)
        for number, other in enumerate(moved):
            if not self._seat(other):
                self._board.take_back(slot, node)
                for each in moved[number:]:
                    self._seat(each)
                if slot in self._competing:
                    self._seat(slot)
                return False
        return True

    def take_back(self, slot: int, node: P) -> None:
        """Undo `give`."""
        self._board.take_back(slot, node)
        if slot in self._competing:
            # There was a seat for it before.
            self._seat(slot)

    def _crowded_out(self, node: P) -> list[int]:
        """Unseat, and return, the slots for which a provider has no more room."""
        moved = []
        for family in set(self._competing.values()):
            seated = self._seated.get((family, node), set())
            for slot in sorted(seated):
                if not self._board.has_place(slot, node) or len(seated) > self._board.places(slot, node):
                    self._unseat(slot)
                    moved.append(slot)
        return moved

    def _unseat(self, slot: int) -> None:
        self._seated[self._competing[slot], self._seat_of.pop(slot)].discard(slot)

    def _seat(self, slot: int) -> bool:
        """Seat a slot, moving others of its family where that makes room."""
        family = self._competing[slot]
        waiting = [slot]
        reached: dict[P, int] = {}
        for current in waiting:
            for node in self._choices[current]:
                if node in reached or not self._board.has_place(current, node):
                    continue
                reached[node] = current
                seated = self._seated.setdefault((family, node), set())
                if len(seated) < self._board.places(current, node):
                    self._move_up(node, reached)
                    return True
                waiting.extend(seated)
        return False

    def _move_up(self, node: P | None, reached: dict[P, int]) -> None:
        while node is not None:
            slot = reached[node]
            family = self._competing[slot]
            left = self._seat_of.get(slot)
            if left is not None:
                self._seated[family, left].discard(slot)
            self._seated[family, node].add(slot)
            self._seat_of[slot] = node
            node = left
