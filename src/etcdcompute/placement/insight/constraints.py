"""What a group asks, one thing at a time and in the order in which an explanation names it.

A group becomes *steps* (what may be said against a provider) and *terms* (what the client wrote and could leave out: a
class, a trait, an aggregate). A check judges a provider by one term; its verdict is the step at which the provider is
out, and the terms each of which would alone have to go for the check to pass.

The group without a suffix is judged per anchor: an aggregate of the root spans its tree, what is shared has to be in a
wanted aggregate itself, and its required traits need only be there collectively. Those are not checks but *clauses*,
except in a tree of one provider with nothing shared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from etcdcompute.placement.candidates.fit import fits, in_aggregates
from etcdcompute.placement.candidates.request import RequestGroup
from etcdcompute.placement.candidates.topology import Member
from etcdcompute.placement.insight.explanation import Code, Kind

PASSED: Final = 1 << 30
Cures = frozenset[int]
Verdict = tuple[int, Cures]
FITS: Final[Verdict] = (PASSED, frozenset())
Check = Callable[[Member], Verdict | None]


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that the query asks for: the parameter, and what of its value."""

    parameter: str
    subject: str


@dataclass(frozen=True, slots=True)
class Step:
    """One reason to be out; with class and amount where it is about a resource."""

    code: Code
    subject: str
    kind: Kind = Kind.FILTERED
    resource: str | None = None
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Clause:
    """A required trait (or its alternatives) of the group without a suffix."""

    alternatives: frozenset[str]
    verdict: Verdict

    def check(self, node: Member) -> Verdict | None:
        """Judge a provider that has to have it alone."""
        return self.verdict if self.alternatives.isdisjoint(node.traits) else None


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """The checks for one slot: on members of the anchor's tree, on what is shared with it, on a tree of one."""

    resources: Mapping[str, int]
    own: Sequence[Check]
    shared: Sequence[Check]
    alone: Sequence[Check]


@dataclass(slots=True)
class Plan:
    """A group's steps and terms. From the step `first_full` on they say that a provider is only full now."""

    steps: list[Step] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    slots: list[SlotPlan] = field(default_factory=list)
    anchor: list[Check] = field(default_factory=list)
    clauses: list[Clause] = field(default_factory=list)
    first_full: int = 0

    def add_term(self, parameter: str, subject: str) -> Cures:
        """Return the new term as a cure."""
        self.terms.append(Term(parameter, subject))
        return frozenset({len(self.terms) - 1})


def judge(node: Member, checks: Iterable[Check]) -> Verdict:
    """Return the first step at which a provider is out, and what cures it in all."""
    first = PASSED
    cures: Cures = FITS[1]
    for check in checks:
        verdict = check(node)
        if verdict is not None:
            cures = verdict[1] if first == PASSED else cures & verdict[1]
            first = min(first, verdict[0])
    return FITS if first == PASSED else (first, cures)


def both(one: Verdict, other: Verdict) -> Verdict:
    """Return the verdict on what has to pass twice."""
    if one[0] == PASSED:
        return other
    if other[0] == PASSED:
        return one
    return min(one[0], other[0]), one[1] & other[1]


def written(names: frozenset[str]) -> str:
    """Return alternatives as a query has them."""
    return next(iter(names)) if len(names) == 1 else f"in:{','.join(sorted(names))}"


def plan_of(group: RequestGroup, unknown: frozenset[str], tree: str | None) -> Plan:
    """Return the plan of a group. `unknown` names do not exist; `tree` is the root of `in_tree`, None if there is none.

    The steps stand in the order that explanations have: what never changes first, what is only full now last.
    """
    return _Planner(group, unknown, tree).plan()


class _Planner:
    """Makes one plan."""

    def __init__(self, group: RequestGroup, unknown: frozenset[str], tree: str | None) -> None:
        self._group = group
        self._tree = tree
        self._plan = Plan()
        self._unknown = {name: self._step(Code.UNKNOWN_NAME, name) for name in _names(group) if name in unknown}

    def plan(self) -> Plan:
        """Add the steps in their order, then put the checks together."""
        group, plan = self._group, self._plan
        own_tree, shared_tree = self._in_tree()
        classes = {name: plan.add_term("resources", name) for name in group.resources}
        absent = {name: self._step(Code.NO_INVENTORY, name) for name in group.resources}
        traits = self._required()
        forbidden = self._forbidden()
        spanned, members = self._member_of()
        unwanted, barred, anchored = self._forbidden_aggregates()
        amounts = self._amounts(classes, absent)
        if group.suffix:
            every = [*own_tree, *amounts.values(), *traits, *forbidden, *members, *barred]
            plan.slots.append(SlotPlan(group.resources, every, every, every))
            return plan
        plan.anchor = [*own_tree, *anchored]
        for name, amount in group.resources.items():
            own = [*own_tree, amounts[name], *traits, *forbidden, *spanned, *unwanted]
            shared = [*shared_tree, amounts[name], *traits, *forbidden, *members, *barred]
            alone = [*own, *(clause.check for clause in plan.clauses)]
            plan.slots.append(SlotPlan({name: amount}, own, shared, alone))
        return plan

    def _step(self, code: Code, subject: str, kind: Kind = Kind.FILTERED, resource: str | None = None) -> int:
        amount = self._group.resources[resource] if resource is not None else 0
        self._plan.steps.append(Step(code, subject, kind, resource, amount))
        return len(self._plan.steps) - 1

    def _resource_step(self, code: Code, name: str, kind: Kind = Kind.FILTERED) -> int:
        return self._step(code, name, kind, name)

    def _in_tree(self) -> tuple[list[Check], list[Check]]:
        """Return the checks of what is in a tree itself, and of what is shared with it, which in_tree rules out."""
        wanted = self._group.in_tree
        if wanted is None:
            return [], []
        root = self._tree
        code = Code.NOT_IN_TREE if root is not None else Code.UNKNOWN_NAME
        out = self._step(code, wanted), self._plan.add_term("in_tree", wanted)

        def elsewhere(node: Member) -> Verdict | None:
            return None if node.root.uuid == root else out

        return [elsewhere], [lambda _: out]

    def _required(self) -> list[Check]:
        """Return the checks of required traits; those that providers may have between them become clauses instead."""
        checks: list[Check] = []
        for alternatives in dict.fromkeys(self._group.required_traits):
            subject = written(alternatives)
            cure = self._plan.add_term("required", subject)
            strange = [self._unknown[name] for name in sorted(alternatives) if name in self._unknown]
            if strange:
                checks.append(_never((strange[0], cure)))
                continue
            clause = Clause(alternatives, (self._step(Code.MISSING_TRAIT, subject), cure))
            if self._group.suffix:
                checks.append(clause.check)
            else:
                self._plan.clauses.append(clause)
        return checks

    def _forbidden(self) -> list[Check]:
        checks: list[Check] = []
        for name in sorted(self._group.forbidden_traits):
            cure = self._plan.add_term("required", f"!{name}")
            if name in self._unknown:
                checks.append(_never((self._unknown[name], cure)))
            else:
                out = self._step(Code.FORBIDDEN_TRAIT, name), cure
                checks.append(_having(name, out))
        return checks

    def _member_of(self) -> tuple[list[Check], list[Check]]:
        """Return the checks of what is spanned by its root's aggregates, and of what is judged by its own."""
        members: list[tuple[frozenset[str], Verdict]] = []
        for alternatives in dict.fromkeys(self._group.member_of):
            subject = written(alternatives)
            cure = self._plan.add_term("member_of", subject)
            members.append((alternatives, (self._step(Code.NOT_IN_AGGREGATE, subject), cure)))
        if not members:
            return [], []
        group = self._group

        def spanned(node: Member) -> Verdict | None:
            # The root fulfils all, or the provider does: not one this, the other that.
            if in_aggregates(node.root, group) or in_aggregates(node, group):
                return None
            by_root = [out for alternatives, out in members if node.root.aggregates.isdisjoint(alternatives)]
            by_node = [out for alternatives, out in members if node.aggregates.isdisjoint(alternatives)]
            cures = [failed[0][1] for failed in (by_root, by_node) if len(failed) == 1]
            return max(by_root[0][0], by_node[0][0]), frozenset().union(*cures)

        return [spanned], [_outside(alternatives, out) for alternatives, out in members]

    def _forbidden_aggregates(self) -> tuple[list[Check], list[Check], list[Check]]:
        """Return the checks of provider and root, of the provider alone, of the root alone."""
        either: list[Check] = []
        itself: list[Check] = []
        root: list[Check] = []
        for aggregate in sorted(self._group.forbidden_aggregates):
            subject = f"!{aggregate}"
            out = self._step(Code.IN_FORBIDDEN_AGGREGATE, aggregate), self._plan.add_term("member_of", subject)
            itself.append(_inside(aggregate, out, of_node=True))
            root.append(_inside(aggregate, out, of_root=True))
            either.append(_inside(aggregate, out, of_node=True, of_root=True))
        return either, itself, root

    def _amounts(self, classes: Mapping[str, Cures], absent: Mapping[str, int]) -> dict[str, Check]:
        names = list(self._group.resources)
        below = {name: self._resource_step(Code.MIN_UNIT, name) for name in names}
        above = {name: self._resource_step(Code.MAX_UNIT, name) for name in names}
        uneven = {name: self._resource_step(Code.STEP_SIZE, name) for name in names}
        never = {name: self._resource_step(Code.INSUFFICIENT_CAPACITY, name) for name in names}
        self._plan.first_full = len(self._plan.steps)
        full = {name: self._resource_step(Code.INSUFFICIENT_CAPACITY, name, Kind.EXHAUSTED) for name in names}

        def check_of(name: str, amount: int) -> Check:
            cure = classes[name]
            if name in self._unknown:
                return _never((self._unknown[name], cure))

            def check(node: Member) -> Verdict | None:
                if fits(node, name, amount):
                    return None
                inventory = node.inventories.get(name)
                if inventory is None:
                    return absent[name], cure
                if amount < inventory.min_unit:
                    return below[name], cure
                if amount > inventory.max_unit:
                    return above[name], cure
                if amount % inventory.step_size:
                    return uneven[name], cure
                return (never if amount > node.capacities[name] else full)[name], cure

            return check

        return {name: check_of(name, amount) for name, amount in self._group.resources.items()}


def _never(out: Verdict) -> Check:
    return lambda _: out


def _having(trait: str, out: Verdict) -> Check:
    return lambda node: out if trait in node.traits else None


def _outside(alternatives: frozenset[str], out: Verdict) -> Check:
    return lambda node: out if node.aggregates.isdisjoint(alternatives) else None


def _inside(aggregate: str, out: Verdict, *, of_node: bool = False, of_root: bool = False) -> Check:
    def check(node: Member) -> Verdict | None:
        inside = (of_node and aggregate in node.aggregates) or (of_root and aggregate in node.root.aggregates)
        return out if inside else None

    return check


def _names(group: RequestGroup) -> list[str]:
    return sorted({*group.resources, *group.forbidden_traits}.union(*group.required_traits))
