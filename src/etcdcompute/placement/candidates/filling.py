"""The ways to fill slots whose choices stand in each other's way, one by one, by trying.

Slots are filled in turn, the narrowest first; what breaks a rule, or leaves other slots without a prospect, is not
gone on with. A state that turned out to be hopeless is remembered: like providers in like states are not told apart,
so that among many like ones not every permutation of a failure is gone through.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, permutations
from typing import Final, Generic, TypeVar

from etcdcompute.placement.candidates.board import Board
from etcdcompute.placement.candidates.effort import Effort
from etcdcompute.placement.candidates.prospects import Prospects, hopeful
from etcdcompute.placement.candidates.rules import Rules
from etcdcompute.placement.candidates.subtrees import cases
from etcdcompute.placement.candidates.topology import ProviderLike

P = TypeVar("P", bound=ProviderLike)
_MOST_REMEMBERED: Final = 10_000


def fillings(rules: Rules, choices: Sequence[Sequence[P]], effort: Effort) -> Iterator[tuple[P, ...]]:
    """Return all fillings that the rules allow: a provider for each slot, in the order of the slots."""
    effort.begin_tree()
    if _alike(rules, choices):
        return permutations(choices[0], len(choices))

    def possible(case: Sequence[Sequence[P]]) -> bool:
        effort.begin_case()
        return hopeful(rules, case)

    if not hopeful(rules, choices):
        return iter(())
    plain = cases(choices, rules.subtrees, possible)
    return chain.from_iterable(_Filler(rules, case, effort).fillings() for case in plain)


def _alike(rules: Rules, choices: Sequence[Sequence[P]]) -> bool:
    """Whether the slots are all the same, and each provider can fill only one."""
    nodes = choices[0]
    if rules.subtrees or rules.together or rules.one_per_tree or any(other is not nodes for other in choices):
        return False
    return len(rules.apart) == len(choices) or not any(
        all(2 * amount <= node.room[name] for name, amount in rules.demands[0]) for node in nodes
    )


class _Filler(Generic[P]):
    """The search among plain choices."""

    def __init__(self, rules: Rules, choices: Sequence[Sequence[P]], effort: Effort) -> None:
        self._choices = choices
        self._effort = effort
        # The narrowest first; among those the largest, since what is small fits in later.
        self._order = sorted(
            range(len(choices)),
            key=lambda slot: (len(choices[slot]), -sum(amount for _, amount in rules.demands[slot])),
        )
        self._board: Board[P] = Board(rules)
        self._prospects = Prospects(rules, choices, self._board)
        self._traits = _Traits(rules, choices, self._order)
        self._failures = _Failures(rules, choices, self._order, self._traits, self._board)
        self._chosen: list[P | None] = [None] * len(choices)

    def fillings(self) -> Iterator[tuple[P, ...]]:
        """Yield the fillings."""
        if not (self._prospects.seat_all() and self._traits.coverable()):
            return
        last = len(self._order) - 1
        options = [iter(self._choices[self._order[0]])]
        found = 0
        # How many had been found when the slot at a depth was turned to.
        begun = [0]
        while options:
            depth = len(options) - 1
            if not self._advance(self._order[depth], options[depth]):
                options.pop()
                if begun.pop() == found:
                    self._failures.note(depth, self._chosen)
            elif depth == last:
                found += 1
                self._effort.succeed()
                yield tuple(node for node in self._chosen if node is not None)
            else:
                hopeless = self._failures.known(depth + 1, self._chosen)
                options.append(iter(() if hopeless else self._choices[self._order[depth + 1]]))
                begun.append(found)

    def _advance(self, slot: int, options: Iterator[P]) -> bool:
        """Give a slot the next provider that it can have; False where there is none left."""
        given = self._chosen[slot]
        if given is not None:
            self._chosen[slot] = None
            self._traits.take_back(slot)
            self._prospects.take_back(slot, given)
        for node in options:
            self._effort.spend()
            if self._board.allows(slot, node) and self._traits.give(slot, node):
                if self._prospects.give(slot, node):
                    self._chosen[slot] = node
                    return True
                self._traits.take_back(slot)
        return False


class _Traits(Generic[P]):
    """The traits that the providers of some slots must have between them: bit by bit, what is still missing."""

    def __init__(self, rules: Rules, choices: Sequence[Sequence[P]], order: Sequence[int]) -> None:
        self._together = frozenset(rules.together)
        self._has: dict[P, int] = {}
        # By slot, what the slots after it can contribute: which traits, and how many at the most.
        self._later: dict[int, tuple[int, int]] = {}
        every = most = 0
        for slot in reversed(order):
            if slot in self._together:
                self._later[slot] = every, most
                for node in choices[slot]:
                    self._has[node] = _bits(node.traits, rules.traits)
                    every |= self._has[node]
                most += max(self._has[node].bit_count() for node in choices[slot])
        wanted = (1 << len(rules.traits)) - 1 if self._together else 0
        self._coverable = not wanted & ~every and wanted.bit_count() <= most
        self._missing = [wanted]

    @property
    def missing(self) -> int:
        """What none of the providers given so far has."""
        return self._missing[-1]

    def of(self, node: P) -> int:
        """Return what a provider has."""
        return self._has.get(node, 0)

    def coverable(self) -> bool:
        """Whether the choices have all between them."""
        return self._coverable

    def give(self, slot: int, node: P) -> bool:
        """Give a slot a provider; False, and nothing done, where what is then missing cannot come any more."""
        if slot not in self._together:
            return True
        missing = self.missing & ~self._has[node]
        every, most = self._later[slot]
        if missing & ~every or missing.bit_count() > most:
            return False
        self._missing.append(missing)
        return True

    def take_back(self, slot: int) -> None:
        """Undo `give`."""
        if slot in self._together:
            self._missing.pop()


def _bits(traits: frozenset[str], wanted: Sequence[frozenset[str]]) -> int:
    return sum(1 << bit for bit, alternatives in enumerate(wanted) if not traits.isdisjoint(alternatives))


class _Failures(Generic[P]):
    """The states that led nowhere. What counts of a state is what the slots still open see of it."""

    def __init__(
        self,
        rules: Rules,
        choices: Sequence[Sequence[P]],
        order: Sequence[int],
        traits: _Traits[P],
        board: Board[P],
    ) -> None:
        self._rules = rules
        self._choices = choices
        self._order = order
        self._traits = traits
        self._board = board
        self._known: set[object] = set()
        # By provider: bit by bit, in the order of filling, the slots that can have it.
        self._wanted_by: dict[P, int] = {}
        self._kinds: dict[object, int] = {}

    def known(self, depth: int, chosen: Sequence[P | None]) -> bool:
        """Whether the state before the slot at a depth is filled is a hopeless one."""
        return bool(self._known) and self._state(depth, chosen) in self._known

    def note(self, depth: int, chosen: Sequence[P | None]) -> None:
        """Remember that the state before the slot at a depth was filled led nowhere."""
        if not self._wanted_by:
            for bit, slot in enumerate(self._order):
                for node in self._choices[slot]:
                    self._wanted_by[node] = self._wanted_by.get(node, 0) | 1 << bit
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known.add(self._state(depth, chosen))

    def _state(self, depth: int, chosen: Sequence[P | None]) -> object:
        changed = []
        for node in {node for node in chosen if node is not None}:
            state = self._board.state(node)
            if self._rules.one_per_tree or (any(state) and self._wanted_by[node] >> depth):
                changed.append((self._kind(node), state))
        return depth, self._traits.missing, tuple(sorted(changed))

    def _kind(self, node: P) -> int:
        """Return a number that like providers have in common."""
        kind = (
            self._wanted_by[node],
            tuple(node.room.get(name, 0) for name in self._rules.contested),
            self._traits.of(node),
            id(node) if self._rules.one_per_tree else None,
        )
        return self._kinds.setdefault(kind, len(self._kinds))
