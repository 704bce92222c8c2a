"""How many times one tree can fill all slots of a request: exactly where slots do not compete, else from both sides."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.candidates.topology import Member
from etcdcompute.placement.insight.combination import Combination, clauses_of, fillers_of
from etcdcompute.placement.insight.packing import Budget, GaveUp
from etcdcompute.placement.insight.survey import ByRoot, GroupSurvey

# More than anything has.
UNBOUNDED: Final = 1 << 62
# What is tried where slots compete, over all trees: about half a second.
_BUDGET: Final = 600_000


class Stock:
    """What providers have left while requests are given out."""

    def __init__(self) -> None:
        self._left: dict[tuple[Member, str], int] = {}

    def left(self, node: Member, name: str) -> int:
        """Return how much of a class is left."""
        left = self._left.get((node, name))
        return node.capacities[name] - node.used.get(name, 0) if left is None else left

    def room(self, node: Member, name: str) -> int:
        """Return how much of it one claim may take."""
        inventory = node.inventories.get(name)
        return 0 if inventory is None else min(self.left(node, name), inventory.max_unit)

    def times(self, node: Member, resources: Mapping[str, int]) -> int:
        """Return how many times a provider has such resources left."""
        least = UNBOUNDED
        for name, amount in resources.items():
            times = self.left(node, name) // amount
            if times < least:
                least = times
        return least

    def take(self, amounts: Mapping[tuple[Member, str], int], times: int) -> None:
        """Give out amounts, so many times."""
        for (node, name), amount in amounts.items():
            self._left[node, name] = self.left(node, name) - amount * times


@dataclass(frozen=True, slots=True)
class Family:
    """Slots that ask for the same of the same providers: which (as bits), how many, and whether they stay apart."""

    slots: int
    count: int
    resources: Mapping[str, int]
    by_root: ByRoot
    suffixed: bool
    apart: bool

    def portion(self, node: Member) -> int:
        """Return how many of the slots of one request a provider may fill."""
        if self.apart:
            return 1
        limits = (node.inventories[name].max_unit // amount for name, amount in self.resources.items())
        return min(self.count, *limits) if self.resources else self.count

    def repeats(self, nodes: Iterable[Member], stock: Stock) -> int:
        """Return for how many requests providers can fill these slots, if nobody else wants anything of them."""
        if self.count == 1:
            return min(sum([stock.times(node, self.resources) for node in nodes]), UNBOUNDED)
        return most_requests([(stock.times(node, self.resources), self.portion(node)) for node in nodes], self.count)


def most_requests(offers: Sequence[tuple[int, int]], slots: int) -> int:
    """Return how many requests with so many slots can be filled from offers: so often in all, so often per request."""
    if sum(portion for _, portion in offers) < slots:
        return 0
    most = sum(times for times, _ in offers) // slots
    while most < UNBOUNDED:
        fewer = sum(min(times, portion * most) for times, portion in offers) // slots
        if fewer >= most:
            break
        most = fewer
    return min(most, UNBOUNDED)


class TreeFill:
    """Counts for the trees of one request."""

    def __init__(self, request: CandidateRequest, surveys: Sequence[GroupSurvey]) -> None:
        self._clauses = clauses_of(request, surveys)
        self._budget = Budget(0)
        combination = Combination(request, fillers_of(request, surveys), self._clauses, self._budget)
        self._packer = combination.packer
        self.families = [self._family(slots, by_root) for slots, (by_root,) in combination.listings]
        roots = set(self.families[0].by_root) if self.families else set()
        for family in self.families[1:]:
            roots.intersection_update(family.by_root.keys())
        # The anchors of the trees that have someone for every slot.
        self.roots = frozenset(roots)
        # Each tree gets its share of what may be tried.
        self._share = _BUDGET // max(1, len(roots))
        self._rivals = [
            (one, other)
            for one, other in combinations(range(len(self.families)), 2)
            if self.families[one].resources.keys() & self.families[other].resources.keys()
            or (self.families[one].apart and self.families[other].apart)
        ]

    def _family(self, slots: int, by_root: ByRoot) -> Family:
        indexes = [index for index in range(len(self._packer.slots)) if slots >> index & 1]
        first = self._packer.slots[indexes[0]]
        apart = self._packer.apart[indexes[0]]
        return Family(slots, len(indexes), first.resources, by_root, bool(first.group.suffix), apart)

    def are_independent(self, root: Member) -> bool:
        """Whether no slot of a tree can get into another family's way."""
        choices = [family.by_root[root] for family in self.families]
        if self._packer.subtrees and len({node for nodes in choices for node in nodes}) > 1:
            return False
        if any(not set(choices[one]).isdisjoint(choices[other]) for one, other in self._rivals):
            return False
        return all(
            any(
                not family.suffixed and all(not clause.isdisjoint(node.traits) for node in nodes)
                for family, nodes in zip(self.families, choices, strict=True)
            )
            for clause in self._clauses
        )

    def bounds(self, root: Member) -> tuple[int, int]:
        """Return how many requests fit in a tree for sure, and at most, if nothing goes elsewhere."""
        high = self._most(root)
        if not high or self.are_independent(root):
            return high, high
        low = self.give_out(root, Stock(), high)
        # Where not even one was found, and the search for it was not given up, there is none.
        return (low, high) if low or self._budget.left < 0 else (0, 0)

    def give_out(self, root: Member, stock: Stock, at_most: int, outside: frozenset[Member] = frozenset()) -> int:
        """Give out of the stock to as many requests as can be found, none of it `outside`; return their number."""
        count, self._budget.left = 0, self._share
        with suppress(GaveUp):
            while count < at_most:
                amounts = self._next(root, stock, outside)
                if amounts is None:
                    break
                times = min(stock.left(node, name) // amount for (node, name), amount in amounts.items())
                if count + times >= at_most:
                    times = at_most - count
                elif self._budget.left > self._share // 2:
                    # Half of it, so that others have their turn before it is used up.
                    times = max(1, times // 2)
                stock.take(amounts, times)
                count += times
        return count

    def _next(
        self, root: Member, stock: Stock, outside: frozenset[Member] = frozenset()
    ) -> dict[tuple[Member, str], int] | None:
        """Return what one more request would take, None where none fits; GaveUp."""
        choices = [
            (
                family.slots,
                [
                    node
                    for node in family.by_root[root]
                    if node not in outside and stock.times(node, family.resources) > 0
                ],
            )
            for family in self.families
        ]
        if not all(nodes for _, nodes in choices):
            return None
        chosen = self._packer.pack(choices, stock.room)
        if chosen is None:
            return None
        amounts: dict[tuple[Member, str], int] = {}
        for node, slot in zip(chosen, self._packer.slots, strict=True):
            for name, amount in slot.resources.items():
                amounts[node, name] = amounts.get((node, name), 0) + amount
        return amounts

    def _most(self, root: Member) -> int:
        """Return a number that what fits in a tree cannot exceed; it is that number where slots are independent."""
        stock = Stock()
        choices = [family.by_root[root] for family in self.families]
        most = [family.repeats(nodes, stock) for family, nodes in zip(self.families, choices, strict=True)]
        if self._rivals:
            most += self._most_by_class(choices, stock)
            most.append(self._most_apart(choices, stock))
        for clause in self._clauses:
            most.append(
                sum(
                    stock.times(node, family.resources)
                    for family, nodes in zip(self.families, choices, strict=True)
                    if not family.suffixed
                    for node in nodes
                    if not clause.isdisjoint(node.traits)
                )
            )
        return min(most)

    def _most_by_class(self, choices: Sequence[Sequence[Member]], stock: Stock) -> list[int]:
        """Return, for each class that several slots ask for, how often all of them together can have it."""
        found = []
        for name in self._packer.contended:
            asking = [
                (family.count * family.resources[name], nodes)
                for family, nodes in zip(self.families, choices, strict=True)
                if name in family.resources
            ]
            having = {node for _, nodes in asking for node in nodes}
            found.append(sum(stock.left(node, name) for node in having) // sum(amount for amount, _ in asking))
        return found

    def _most_apart(self, choices: Sequence[Sequence[Member]], stock: Stock) -> int:
        """Return how often groups that stay apart can find a provider each."""
        apart = [(family, nodes) for family, nodes in zip(self.families, choices, strict=True) if family.apart]
        if not apart:
            return UNBOUNDED
        times: dict[Member, int] = {}
        for family, nodes in apart:
            for node in nodes:
                times[node] = times.get(node, 0) + stock.times(node, family.resources)
        return most_requests([(each, 1) for each in times.values()], sum(family.count for family, _ in apart))
