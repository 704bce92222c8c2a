"""All slots of a request with who can fill each: in which trees they can be filled together."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from etcdcompute.placement.candidates.request import CandidateRequest, Slot
from etcdcompute.placement.candidates.topology import Member
from etcdcompute.placement.insight.packing import Budget, GaveUp, Packer, Room, room_now
from etcdcompute.placement.insight.survey import ByRoot, GroupSurvey


@dataclass(frozen=True, slots=True)
class Filler:
    """A slot, and by anchor the providers that can fill it alone (all of several listings)."""

    slot: Slot
    by_root: tuple[ByRoot, ...]


class Combination:
    """Answers for one request. `exact` is off once an answer was given up, which then counts as yes."""

    def __init__(
        self,
        request: CandidateRequest,
        fillers: Sequence[Filler],
        clauses: Sequence[frozenset[str]],
        budget: Budget,
    ) -> None:
        self.fillers = fillers
        self.packer = Packer(
            [filler.slot for filler in fillers],
            budget,
            isolate=request.isolate,
            same_subtrees=request.same_subtrees,
            covered_traits=clauses,
        )
        self.exact = True
        # Like groups share their listings: each is looked up once, for all slots that it can fill.
        together: dict[tuple[int, ...], int] = {}
        listings = {}
        for index, filler in enumerate(fillers):
            key = tuple(map(id, filler.by_root))
            together[key] = together.get(key, 0) | 1 << index
            listings[key] = filler.by_root
        self.listings = [(slots, listings[key]) for key, slots in together.items()]

    def choices(self, root: Member) -> Iterator[tuple[int, Sequence[Member]]]:
        """Yield who can fill which slots (as bits) alone."""
        for slots, by_roots in self.listings:
            for by_root in by_roots:
                nodes = by_root.get(root)
                if nodes:
                    yield slots, nodes

    def possible(self, root: Member, room: Room = room_now) -> bool:
        """Whether the slots can be filled together with this anchor."""
        try:
            return self.packer.possible(self.choices(root), room)
        except GaveUp:
            self.exact = False
            return True

    def trees(self, among: Iterable[Member], known: Collection[Member] = ()) -> set[Member]:
        """Return the anchors of those trees where it is possible; for those `known` it is."""
        left = set(among)
        for _, by_roots in self.listings:
            if len(by_roots) == 1:
                left.intersection_update(by_roots[0].keys())
            else:
                left.intersection_update(set[Member]().union(*by_roots))
        if not self.packer.couples:
            return left
        return {root for root in left if root in known or self.possible(root)}


def fillers_of(request: CandidateRequest, surveys: Sequence[GroupSurvey], *, empty: bool = False) -> list[Filler]:
    """Return a request's slots with who fits as things are, or (`empty`) when nobody else has anything."""
    return [
        Filler(Slot(group, plan.resources), (slot.fits, slot.full) if empty else (slot.fits,))
        for group, survey in zip(request.groups, surveys, strict=True)
        for plan, slot in zip(survey.plan.slots, survey.slots, strict=True)
    ]


def clauses_of(request: CandidateRequest, surveys: Sequence[GroupSurvey]) -> list[frozenset[str]]:
    """Return the required traits that the group without a suffix may have spread over a tree."""
    return [
        clause.alternatives
        for group, survey in zip(request.groups, surveys, strict=True)
        if not group.suffix
        for clause in survey.plan.clauses
    ]
