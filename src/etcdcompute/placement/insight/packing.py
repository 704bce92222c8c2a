"""Whether all slots of a request can be filled together in one tree, and by which providers.

Slots compete: what one takes from a provider another cannot have, groups may have to come from different providers,
from one subtree, or have traits between them. That is a packing problem; three things keep it small. Providers that
are alike where it matters are tried once. A state found hopeless is not looked at again, however it is come by, nor is
a tree that is like another one. And the whole has a budget: where that is spent, `GaveUp` says that nobody knows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import gcd

from etcdcompute.placement.candidates.request import Slot
from etcdcompute.placement.candidates.topology import Member

# Slots, as bits, and the providers that can fill each of them alone.
Choices = Iterable[tuple[int, Sequence[Member]]]
Room = Callable[[Member, str], int]
# A provider as the search for a packing sees it; those in equal states are the same to it. Plain tuples: trees of
# 20,000 hosts are told apart by them. The slots that it can fill, its traits, whether a group that stays apart has
# it, and its room for each contended class.
_State = tuple[int, int, bool, tuple[int, ...]]
# Trying a provider takes longer than looking at it.
_STEP_COST = 2


class GaveUp(Exception):
    """The budget is spent; what was asked for is not known."""


class Budget:
    """How many providers may be looked at, over all questions that share it."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take from it; GaveUp where it is used up."""
        self.left -= steps
        if self.left < 0:
            raise GaveUp


def room_now(node: Member, name: str) -> int:
    """Return how much of a class one claim may take from a provider as it is."""
    inventory = node.inventories.get(name)
    return 0 if inventory is None else min(node.capacities[name] - node.used.get(name, 0), inventory.max_unit)


def room_when_empty(node: Member, name: str) -> int:
    """Return how much of a class one claim may take from a provider when nobody else has anything."""
    inventory = node.inventories.get(name)
    return 0 if inventory is None else min(node.capacities[name], inventory.max_unit)


class Packer:
    """Fills slots that belong to one request. Traits to be covered are those of the group without a suffix."""

    def __init__(
        self,
        slots: Sequence[Slot],
        budget: Budget,
        *,
        isolate: bool = False,
        same_subtrees: Sequence[frozenset[str]] = (),
        covered_traits: Sequence[frozenset[str]] = (),
    ) -> None:
        self.slots = slots
        self.budget = budget
        self.apart = [isolate and bool(slot.group.suffix) for slot in slots]
        together = [
            [index for index, slot in enumerate(slots) if slot.group.suffix in suffixes] for suffixes in same_subtrees
        ]
        self.subtrees = [indexes for indexes in together if len(indexes) > 1]
        self._clauses = covered_traits if any(not slot.group.suffix for slot in slots) else ()
        self.all_traits = (1 << len(self._clauses)) - 1
        self.contended = _contended(slots)
        amounts = [tuple(slot.resources.get(name, 0) for name in self.contended) for slot in slots]
        grains = [gcd(*column) for column in zip(*amounts, strict=True)]
        # In multiples of what all amounts are multiples of.
        self.amounts = [tuple(amount // grain for amount, grain in zip(row, grains, strict=True)) for row in amounts]
        most = [self._most_from_one(at) for at in range(len(self.contended))]
        self._measures = list(zip(self.contended, grains, most, strict=True))
        self._known: dict[object, bool] = {}

    @property
    def couples(self) -> bool:
        """Whether slots depend on each other at all."""
        return bool(self.contended or sum(self.apart) > 1 or self.subtrees or self.all_traits)

    def possible(self, choices: Choices, room: Room) -> bool:
        """Whether the slots can be filled together; GaveUp."""
        able = _able(choices)
        self.budget.spend(len(able))
        states = self._states(able, room)
        key: object = tuple(sorted(states))
        if self.subtrees:
            at = {node: number for number, node in enumerate(able)}
            key = tuple(states), tuple(_above(node, at) for node in able)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._pack(list(able), states) is not None
        return known

    def pack(self, choices: Choices, room: Room) -> list[Member] | None:
        """Return a provider for each slot, the roomiest first, or None where it cannot be; GaveUp."""
        able = _able(choices)
        self.budget.spend(len(able))
        return self._pack(list(able), self._states(able, room))

    def _most_from_one(self, at: int) -> int:
        """Return the most of a class that could ever be taken from one provider."""
        alone = [row[at] for row, apart in zip(self.amounts, self.apart, strict=True) if apart]
        free = [row[at] for row, apart in zip(self.amounts, self.apart, strict=True) if not apart]
        return max(alone, default=0) + sum(free)

    def _states(self, able: Mapping[Member, int], room: Room) -> list[_State]:
        measures = self._measures
        return [
            (
                slots,
                self._traits(node) if self.all_traits else 0,
                False,
                tuple([min(room(node, name) // grain, most) for name, grain, most in measures]),
            )
            for node, slots in able.items()
        ]

    def _traits(self, node: Member) -> int:
        covered = 0
        for bit, clause in enumerate(self._clauses):
            if not clause.isdisjoint(node.traits):
                covered |= 1 << bit
        return covered

    def _pack(self, nodes: Sequence[Member], states: list[_State]) -> list[Member] | None:
        """Try every way to satisfy the rules about subtrees; each leaves a packing without them."""
        for narrowed in self._narrowings(nodes, [state[0] for state in states], 0, set()):
            narrow = [(slots, *state[1:]) for slots, state in zip(narrowed, states, strict=True)]
            chosen = _Search(self, narrow).run() if self._promising(narrow) else None
            if chosen is not None:
                return [nodes[at] for at in chosen]
        return None

    def _narrowings(
        self, nodes: Sequence[Member], able: list[int], at: int, seen: set[tuple[int, ...]]
    ) -> Iterator[list[int]]:
        """Yield what each provider may fill, for each choice of who is on top of each subtree."""
        if at == len(self.subtrees):
            key = tuple(able)
            if key not in seen:
                seen.add(key)
                yield able
            return
        inside = sum(1 << index for index in self.subtrees[at])
        for top, node in enumerate(nodes):
            if not able[top] & inside:
                continue
            self.budget.spend(len(nodes))
            below = [
                slots if _is_below(each, node) else slots & ~inside for each, slots in zip(nodes, able, strict=True)
            ]
            for index in self.subtrees[at]:
                bit = 1 << index
                if able[top] & bit:
                    narrowed = [slots & ~bit for slots in below]
                    narrowed[top] |= bit
                    yield from self._narrowings(nodes, narrowed, at + 1, seen)

    def _promising(self, states: Sequence[_State]) -> bool:
        """Whether nothing that is quickly seen stands against it."""
        filled = 0
        for state in states:
            filled |= state[0]
        if filled != (1 << len(self.slots)) - 1:
            return False
        for at, column in enumerate(zip(*self.amounts, strict=True)):
            asking = sum(1 << index for index, amount in enumerate(column) if amount)
            if sum(state[3][at] for state in states if state[0] & asking) < sum(column):
                return False
        return sum(self.apart) < 2 or self._matches(states)

    def _matches(self, states: Sequence[_State]) -> bool:
        """Whether slots that come from different providers find one each, whatever else is asked."""
        holder: dict[int, int] = {}

        def place(index: int, visited: set[int]) -> bool:
            for at, state in enumerate(states):
                if state[0] >> index & 1 and at not in visited:
                    visited.add(at)
                    if at not in holder or place(holder[at], visited):
                        holder[at] = index
                        return True
            return False

        return all(place(index, set()) for index, alone in enumerate(self.apart) if alone)


class _Search:
    """Depth first, the slot with the fewest providers first."""

    def __init__(self, packer: Packer, states: list[_State]) -> None:
        self._packer = packer
        self._states = states
        count = len(packer.slots)
        able = [sum(1 for state in states if state[0] >> index & 1) for index in range(count)]
        self._order = sorted(range(count), key=lambda index: (able[index], packer.amounts[index], index))
        self._later = [0] * (count + 1)
        for depth in range(count - 1, -1, -1):
            self._later[depth] = self._later[depth + 1] | 1 << self._order[depth]
        self._hopeless: set[object] = set()
        self._chosen = [0] * count

    def run(self) -> list[int] | None:
        """Return the number of a provider for each slot."""
        return self._chosen if self._fill(0, 0) else None

    def _fill(self, depth: int, covered: int) -> bool:
        packer, states = self._packer, self._states
        if depth == len(self._order):
            return covered == packer.all_traits
        packer.budget.spend(_STEP_COST * len(states))
        if self._hopeless and self._key(depth, covered) in self._hopeless:
            return False
        index = self._order[depth]
        amounts, apart = packer.amounts[index], packer.apart[index]
        tried = set()
        roomiest = sorted(range(len(states)), key=lambda at: states[at][3], reverse=True)
        for at in roomiest:
            state = states[at]
            slots, traits, taken, room = state
            if not slots >> index & 1 or (apart and taken) or state in tried:
                continue
            tried.add(state)
            left = tuple([have - take for have, take in zip(room, amounts, strict=True)])
            if left and min(left) < 0:
                continue
            states[at] = slots, traits, taken or apart, left
            self._chosen[index] = at
            if self._fill(depth + 1, covered if packer.slots[index].group.suffix else covered | traits):
                return True
            states[at] = state
        self._hopeless.add(self._key(depth, covered))
        return False

    def _key(self, depth: int, covered: int) -> object:
        """Return what decides whether the rest can be filled: nothing that is only about the past."""
        later = self._later[depth]
        return (
            depth,
            covered,
            tuple(sorted([(state[0] & later, *state[1:]) for state in self._states if state[0] & later])),
        )


def _contended(slots: Sequence[Slot]) -> tuple[str, ...]:
    asking: dict[str, int] = {}
    for slot in slots:
        for name in slot.resources:
            asking[name] = asking.get(name, 0) + 1
    return tuple(sorted(name for name, count in asking.items() if count > 1))


def _able(choices: Choices) -> dict[Member, int]:
    able: dict[Member, int] = {}
    for slots, nodes in choices:
        for node in nodes:
            able[node] = able.get(node, 0) | slots
    return able


def _is_below(node: Member | None, top: Member) -> bool:
    while node is not None:
        if node is top:
            return True
        node = node.parent
    return False


def _above(node: Member, at: Mapping[Member, int]) -> int:
    """Return the number of the nearest provider above that is numbered, -1 where there is none."""
    above = node.parent
    while above is not None:
        if above in at:
            return at[above]
        above = above.parent
    return -1
