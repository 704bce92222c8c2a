"""Who is out at a step, and who comes nearest to fitting: the few that an explanation shows."""

from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from itertools import islice
from operator import attrgetter

from etcdcompute.placement.candidates.topology import Member
from etcdcompute.placement.insight.constraints import Check, Plan, Step
from etcdcompute.placement.insight.explanation import Code, Miss, Nearest, Sample
from etcdcompute.placement.insight.survey import Forest, GroupSurvey, largest_free

SHOWN = 5
# So many, of those that got furthest, are looked at to find the nearest.
_LOOKED_AT = 500
_name_of = attrgetter("name")


def samples(step: Step, out: Iterable[Member]) -> tuple[Sample, ...]:
    """Return a few that a step ruled out; for a step about a class those with most of it first."""
    name = step.resource
    if name is None:
        return tuple(Sample(node.uuid, node.name) for node in nsmallest(SHOWN, out, key=_name_of))
    nodes = list(out)
    free = [largest_free(node, name) for node in nodes]
    least = min(nlargest(SHOWN, free), default=0)
    first = [
        (-have, -node.capacities.get(name, 0), node) for have, node in zip(free, nodes, strict=True) if have >= least
    ]
    best = [node for *_, node in nsmallest(SHOWN, first, key=lambda each: (*each[:2], each[2].name))]
    return tuple(
        Sample(
            node.uuid,
            node.name,
            requested=step.amount,
            used=node.used.get(name, 0),
            capacity=node.capacities.get(name, 0),
            largest_free=largest_free(node, name),
        )
        for node in best
    )


def nearest(forest: Forest, survey: GroupSurvey, *, whole: bool) -> tuple[Nearest, ...]:
    """Return those that do not fit but lack least: providers for a `whole` group, roots of trees for one in parts."""
    last_steps = sorted(survey.out, reverse=True)
    furthest = islice((each for step in last_steps for each in survey.out[step]), _LOOKED_AT)
    near = []
    for root, node in furthest:
        if whole:
            misses, shown = _misses(survey.plan, node, survey.plan.slots[0].own), node
        else:
            misses, shown = _misses_of_tree(forest, survey, root), root
        near.append((_distance(misses), shown.name, shown.uuid, misses))
    best = nsmallest(SHOWN, near, key=lambda each: each[:3])
    return tuple(Nearest(uuid, name, misses) for _, name, uuid, misses in best)


def _misses(plan: Plan, node: Member, checks: Sequence[Check]) -> tuple[Miss, ...]:
    out = sorted({verdict[0] for check in checks if (verdict := check(node)) is not None})
    return tuple(_miss(plan.steps[step], node) for step in out)


def _miss(step: Step, node: Member) -> Miss:
    if step.resource is None:
        return Miss(step.code, step.subject, node.uuid)
    return Miss(step.code, step.subject, node.uuid, step.amount, largest_free(node, step.resource))


def _misses_of_tree(forest: Forest, survey: GroupSurvey, root: Member) -> tuple[Miss, ...]:
    """Return what keeps each slot from being filled by the provider that is best for it."""
    plan, members = survey.plan, forest.members[root]
    alone = len(members) == 1 and root not in forest.shared
    found: dict[Miss, None] = {}
    for slot_plan, slot in zip(plan.slots, survey.slots, strict=True):
        if root in slot.fits:
            continue
        checks = slot_plan.alone if alone else slot_plan.own
        ways = [_misses(plan, node, checks) for node in members]
        ways += [_misses(plan, node, slot_plan.shared) for node in forest.shared.get(root, ())]
        found.update(dict.fromkeys(min(ways, key=_distance)))
    if not found:
        # Every slot has its provider; what they have not, or not in any one choice of them, are the traits.
        nodes = [node for slot in survey.slots for node in slot.fits.get(root, ())]
        lacking = [clause for clause in plan.clauses if all(clause.check(node) for node in nodes)] or plan.clauses
        found.update((_miss(plan.steps[clause.verdict[0]], root), None) for clause in lacking)
    return tuple(found)


def _distance(misses: Iterable[Miss]) -> float:
    """Return how far off that is: what is lacking altogether counts one, what is only too little its share."""
    total = 0.0
    for miss in misses:
        if miss.code is Code.INSUFFICIENT_CAPACITY and miss.requested and miss.largest_free is not None:
            total += max(0, miss.requested - miss.largest_free) / miss.requested
        else:
            total += 1
    return total
