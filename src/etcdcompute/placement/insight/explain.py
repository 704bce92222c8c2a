"""Why a request has the candidates that it has, and none where it has none.

Each group is surveyed as if it were alone, step by step; then what the whole request adds is applied to the trees that
are left: the root's traits, all groups in one tree, and that they fit there together. The search yields candidates,
this counts the trees that have any: both use the same predicates, and a test holds them to agree.
"""

from collections.abc import Sequence
from dataclasses import replace
from heapq import nsmallest

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.topology import Member, Topology
from etcdcompute.placement.insight.combination import Combination, clauses_of, fillers_of
from etcdcompute.placement.insight.constraints import Step, Term, written
from etcdcompute.placement.insight.explanation import (
    Code,
    Explanation,
    GroupExplanation,
    Kind,
    Sample,
    Stage,
    Unit,
)
from etcdcompute.placement.insight.nearest import SHOWN, nearest, samples
from etcdcompute.placement.insight.packing import Budget, room_now, room_when_empty
from etcdcompute.placement.insight.relax import relaxations
from etcdcompute.placement.insight.survey import Forest, GroupSurvey, survey

# What is looked at to find out what fits together: about half a second.
_BUDGET = 400_000
# These say nothing where they rule nothing out.
_QUIET = frozenset({Code.UNKNOWN_NAME, Code.MIN_UNIT, Code.MAX_UNIT, Code.STEP_SIZE})


def explain(
    topology: Topology[Member], request: CandidateRequest, unknown: frozenset[str] = frozenset()
) -> Explanation:
    """Return the explanation of a request with nested candidates; `limit` does not matter.

    `unknown` are the classes and traits it names that do not exist, which a search would refuse: nothing fits them.
    """
    forest = Forest(topology)
    surveys = survey(topology, forest, request, unknown)
    unit = Unit.PROVIDERS if forest.flat else Unit.TREES
    groups = tuple(
        _explain_group(forest, group, each, unit) for group, each in zip(request.groups, surveys, strict=True)
    )
    whole = _Whole(forest, request, surveys, unit, Budget(_BUDGET))
    whole.apply_roots(unknown)
    whole.apply_groups()
    anchors = whole.anchors
    whole.apply_rules()
    return Explanation(
        unit=unit,
        of=len(forest.members),
        fits=len(whole.left),
        exact=whole.exact and all(each.exact for each in surveys),
        groups=groups,
        stages=tuple(whole.stages),
        relaxations=tuple(relaxations(request, surveys, anchors, whole.without_root_terms, whole.left)),
    )


def _explain_group(forest: Forest, group: RequestGroup, found: GroupSurvey, unit: Unit) -> GroupExplanation:
    unit = Unit.PROVIDERS if group.suffix else unit
    stages: list[Stage] = []
    left = found.of
    for position, step in enumerate(found.plan.steps):
        out = found.out.get(position, [])
        if not left:
            break
        if out or not _is_quiet(step):
            before, left = left, left - len(out)
            shown = samples(step, (node for _, node in out))
            stages.append(Stage(group.suffix, step.code, step.subject, before, left, unit, step.kind, shown))
    near = nearest(forest, found, whole=bool(group.suffix))
    return GroupExplanation(group.suffix, group.resources, in_words(group), unit, found.of, left, tuple(stages), near)


def _is_quiet(step: Step) -> bool:
    return step.code in _QUIET or (step.code is Code.INSUFFICIENT_CAPACITY and step.kind is Kind.FILTERED)


def in_words(group: RequestGroup) -> str:
    """Return what a group asks for, as short as a query has it."""
    words = [f"{name}:{amount}" for name, amount in group.resources.items()]
    words += [written(alternatives) for alternatives in group.required_traits]
    words += [f"!{name}" for name in sorted(group.forbidden_traits)]
    words += [f"member_of {written(alternatives)}" for alternatives in group.member_of]
    words += [f"member_of !{aggregate}" for aggregate in sorted(group.forbidden_aggregates)]
    return ", ".join([*words, f"in_tree {group.in_tree}"] if group.in_tree is not None else words)


class _Whole:
    """The trees that are left for the whole request, and the stages that made them so few."""

    def __init__(
        self,
        forest: Forest,
        request: CandidateRequest,
        surveys: Sequence[GroupSurvey],
        unit: Unit,
        budget: Budget,
    ) -> None:
        self._request = request
        self._surveys = surveys
        self._unit = unit
        self._budget = budget
        self.left = set(forest.members)
        self.anchors = self.left
        self.without_root_terms: list[tuple[Term, set[Member]]] = []
        self.stages: list[Stage] = []
        self.exact = True

    def apply_roots(self, unknown: frozenset[str]) -> None:
        """Leave the trees whose roots have, and have not, the traits that are asked of roots."""
        required = [(name, name, True) for name in sorted(self._request.root_required)]
        forbidden = [(f"!{name}", name, False) for name in sorted(self._request.root_forbidden)]
        # What a root alone fails at; None where that is more than one thing.
        alone: dict[Member, str | None] = {}
        for subject, name, wanted in required + forbidden:
            known = name not in unknown
            failing = {root for root in self.anchors if not known or (name in root.traits) is not wanted}
            for root in failing:
                alone[root] = None if root in alone else subject
            self._apply(Code.ROOT_TRAIT if known else Code.UNKNOWN_NAME, subject, failing)
        self.anchors = self.left
        nearly: dict[str | None, set[Member]] = {}
        for root, only in alone.items():
            nearly.setdefault(only, set()).add(root)
        for subject, _, _ in required + forbidden:
            self.without_root_terms.append((Term("root_required", subject), self.anchors | nearly.get(subject, set())))

    def apply_groups(self) -> None:
        """Leave the trees that have a place for every group."""
        if len(self._surveys) < 2 and not self.stages:
            # One group, and nothing else: its own stages have said it all.
            self.left = self.left & self._surveys[0].served if self._surveys else set()
            return
        for group, found in zip(self._request.groups, self._surveys, strict=True):
            self._apply(Code.NOT_IN_TREE, f'group "{group.suffix}"', self.left - found.served)

    def apply_rules(self) -> None:
        """Leave the trees where the groups fit together, then apart as asked, then in their subtrees."""
        request = self._request
        bare = replace(request, isolate=False, same_subtrees=())
        apart = replace(request, same_subtrees=())
        combination = self._combination(bare)
        if combination.packer.contended:
            self._apply_rule(Code.COMBINATION_EXCEEDS_CAPACITY, ", ".join(combination.packer.contended), bare)
        if request.isolate and sum(1 for group in request.groups if group.suffix) > 1:
            self._apply_rule(Code.GROUP_POLICY, "isolate", apart)
        if request.same_subtrees:
            subject = "; ".join(",".join(sorted(suffixes)) for suffixes in request.same_subtrees)
            self._apply_rule(Code.SAME_SUBTREE, subject, request)

    def _combination(self, request: CandidateRequest, *, empty: bool = False) -> Combination:
        fillers = fillers_of(self._request, self._surveys, empty=empty)
        return Combination(request, fillers, clauses_of(self._request, self._surveys), self._budget)

    def _apply_rule(self, code: Code, subject: str, request: CandidateRequest) -> None:
        now, empty = self._combination(request), self._combination(request, empty=True)
        failing = self.left - now.trees(self.left)
        full = {root for root in failing if empty.possible(root, room_when_empty)}
        self.exact = self.exact and now.exact
        never = failing - full
        if never:
            self._apply(code, subject, never, shown=_trees(now, never, code))
        self._apply(code, subject, full, kind=Kind.EXHAUSTED, shown=_trees(now, full, code))

    def _apply(
        self,
        code: Code,
        subject: str,
        failing: set[Member],
        *,
        kind: Kind = Kind.FILTERED,
        shown: tuple[Sample, ...] | None = None,
    ) -> None:
        if not self.left:
            return
        before, removed = len(self.left), self.left & failing
        self.left = self.left - failing
        if shown is None:
            shown = samples(Step(code, subject), removed)
        self.stages.append(Stage(None, code, subject, before, len(self.left), self._unit, kind, shown))


def _trees(combination: Combination, roots: set[Member], code: Code) -> tuple[Sample, ...]:
    """Return a few trees; where one class is what they lack, with how much of it their providers have in all."""
    contended = combination.packer.contended
    if code is not Code.COMBINATION_EXCEEDS_CAPACITY or len(contended) != 1:
        return samples(Step(code, ""), roots)
    (name,) = contended
    amounts = [filler.slot.resources.get(name, 0) for filler in combination.fillers]
    asking = sum(1 << index for index, amount in enumerate(amounts) if amount)

    def describe(root: Member) -> Sample:
        nodes = {node for slots, nodes in combination.choices(root) if slots & asking for node in nodes}
        return Sample(
            root.uuid,
            root.name,
            requested=sum(amounts),
            used=sum(node.used.get(name, 0) for node in nodes),
            capacity=sum(node.capacities[name] for node in nodes),
            largest_free=sum(room_now(node, name) for node in nodes),
        )

    return tuple(nsmallest(SHOWN, map(describe, roots), key=lambda each: (-(each.largest_free or 0), each.name)))
