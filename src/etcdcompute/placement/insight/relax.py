"""What one thing less would bring: a request without one of its terms, and how many trees then have a candidate."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup, Slot
from etcdcompute.placement.candidates.topology import Member
from etcdcompute.placement.insight.combination import Combination, Filler, clauses_of, fillers_of
from etcdcompute.placement.insight.constraints import Term, written
from etcdcompute.placement.insight.explanation import Relaxation
from etcdcompute.placement.insight.packing import Budget
from etcdcompute.placement.insight.survey import GroupSurvey

MOST_TERMS = 64
_BUDGET = 150_000


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """A request with less in it. With `more`, whatever had a candidate before has one still."""

    group: str | None
    term: Term
    request: CandidateRequest
    fillers: Sequence[Filler]
    clauses: Sequence[frozenset[str]]
    more: bool


def relaxations(
    request: CandidateRequest,
    surveys: Sequence[GroupSurvey],
    anchors: Collection[Member],
    anchors_without: Sequence[tuple[Term, Collection[Member]]],
    fitting: Collection[Member],
) -> list[Relaxation]:
    """Return how many trees would fit without each term, those that bring most first.

    `anchors` are the trees that the request allows at all; `anchors_without` what it would allow without something
    that it asks of roots; `fitting` what has candidates. Terms for which this is too much to find out are left out.
    """
    found = []
    budget = Budget(_BUDGET)
    fillers, clauses = fillers_of(request, surveys), clauses_of(request, surveys)
    of_roots = (
        (_Relaxed(None, term, request, fillers, clauses, more=True), allowed) for term, allowed in anchors_without
    )
    of_groups = ((relaxed, anchors) for relaxed in _relaxed(request, surveys))
    for relaxed, allowed in islice(chain(of_roots, of_groups), MOST_TERMS):
        combination = Combination(relaxed.request, relaxed.fillers, relaxed.clauses, budget)
        trees = combination.trees(allowed, fitting if relaxed.more else ())
        if combination.exact:
            found.append(Relaxation(relaxed.group, relaxed.term.parameter, relaxed.term.subject, len(trees)))
    return sorted(found, key=lambda each: -each.fits)


def _relaxed(request: CandidateRequest, surveys: Sequence[GroupSurvey]) -> Iterator[_Relaxed]:
    fillers, clauses = fillers_of(request, surveys), clauses_of(request, surveys)
    if request.isolate and sum(1 for group in request.groups if group.suffix) > 1:
        policy = Term("group_policy", "isolate")
        yield _Relaxed(None, policy, replace(request, isolate=False), fillers, clauses, more=True)
    for at, suffixes in enumerate(request.same_subtrees):
        rest = request.same_subtrees[:at] + request.same_subtrees[at + 1 :]
        term = Term("same_subtree", ",".join(sorted(suffixes)))
        yield _Relaxed(None, term, replace(request, same_subtrees=rest), fillers, clauses, more=True)
    for at, survey in enumerate(surveys):
        for number, term in enumerate(survey.plan.terms):
            if term.parameter == "resources":
                relaxed = _without_class(request, surveys, at, number)
                if relaxed is not None:
                    yield relaxed
            else:
                yield _without_term(request, surveys, at, number)


def _without_term(request: CandidateRequest, surveys: Sequence[GroupSurvey], at: int, number: int) -> _Relaxed:
    group, term = request.groups[at], surveys[at].plan.terms[number]
    clauses = clauses_of(request, surveys)
    if not group.suffix:
        clauses = [each for each in clauses if term != Term("required", written(each))]
    fillers = [
        filler
        for each in range(len(surveys))
        for filler in (_eased(group, surveys[at], number) if each == at else _plain(request, surveys, each))
    ]
    return _Relaxed(group.suffix, term, request, fillers, clauses, more=True)


def _without_class(request: CandidateRequest, surveys: Sequence[GroupSurvey], at: int, number: int) -> _Relaxed | None:
    """Return the request without a class; without the whole group, where that was all; None where nothing is left."""
    group, term = request.groups[at], surveys[at].plan.terms[number]
    resources = {name: amount for name, amount in group.resources.items() if name != term.subject}
    others = [each for each in range(len(surveys)) if each != at]
    if not resources and not any(request.groups[each].resources for each in others):
        return None
    clauses = clauses_of(request, surveys)
    left = [filler for each in others for filler in _plain(request, surveys, each)]
    if resources:
        smaller = replace(group, resources=resources)
        if group.suffix:
            left += _eased(smaller, surveys[at], number)
        else:
            left += [each for each in _plain(request, surveys, at) if term.subject not in each.slot.resources]
        # Fewer providers may have fewer traits between them, or leave a subtree without its top.
        more = bool(group.suffix) or not (clauses or request.same_subtrees)
        return _Relaxed(group.suffix, term, request, left, clauses, more)
    subtrees = tuple(suffixes - {group.suffix} for suffixes in request.same_subtrees)
    groups = tuple(request.groups[each] for each in others)
    rest = replace(request, groups=groups, same_subtrees=subtrees)
    # A group of which nothing is left is named as a whole.
    whole = Term("group", group.suffix)
    return _Relaxed(group.suffix, whole, rest, left, clauses if group.suffix else (), not subtrees)


def _plain(request: CandidateRequest, surveys: Sequence[GroupSurvey], at: int) -> list[Filler]:
    return fillers_of(replace(request, groups=(request.groups[at],)), [surveys[at]])


def _eased(group: RequestGroup, survey: GroupSurvey, number: int) -> list[Filler]:
    """Return the slots of a group, filled also by those that only one of its terms keeps out."""
    return [
        Filler(
            Slot(group, group.resources if group.suffix else plan.resources), (slot.fits, slot.nearly.get(number, {}))
        )
        for plan, slot in zip(survey.plan.slots, survey.slots, strict=True)
    ]
