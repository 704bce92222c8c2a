"""Which providers can fill which slot of a request, tree by tree; and which cannot, and for what reason alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from etcdcompute.placement.candidates.effort import TooHard
from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.topology import Member, Topology
from etcdcompute.placement.insight.constraints import PASSED, Plan, Verdict, both, judge, plan_of
from etcdcompute.placement.insight.packing import Budget, GaveUp

ByRoot = dict[Member, list[Member]]
Entries = list[tuple[Verdict, Member]]
# Per slot: the step at which a provider is out, and which of the wanted traits it has.
_Offers = tuple[tuple[tuple[int, int], ...], ...]
# Combinations of traits that are looked at for one group: about a fifth of a second.
_BUDGET = 500_000
# Parts of a request times providers: a second or two, and 200 MB while they last.
MOST_LOOKS = 1_000_000


class Forest:
    """All trees with their members and with what is shared with them."""

    def __init__(self, topology: Topology[Member]) -> None:
        self.nodes = list(topology.all_nodes())
        self.members: ByRoot = {}
        for node in self.nodes:
            self.members.setdefault(node.root, []).append(node)
        self.spans: ByRoot = {}
        self.shared: ByRoot = {}
        for node in topology.sharing_nodes():
            reached = {member.root: None for each in node.aggregates for member in topology.members(each).values()}
            reached.pop(node.root, None)
            self.spans[node] = list(reached)
            for root in reached:
                self.shared.setdefault(root, []).append(node)

    @property
    def flat(self) -> bool:
        """Whether each tree is one provider that nobody shares with."""
        return len(self.members) == len(self.nodes) and not self.shared


@dataclass(slots=True)
class SlotSurvey:
    """By anchor, who fills a slot: now; without one term; when nobody else has anything."""

    fits: ByRoot = field(default_factory=dict)
    nearly: dict[int, ByRoot] = field(default_factory=dict)
    full: ByRoot = field(default_factory=dict)

    def note(self, verdict: Verdict, node: Member, root: Member, first_full: int) -> None:
        """File a provider, for an anchor, under what its verdict says."""
        step, cures = verdict
        if step == PASSED:
            self.fits.setdefault(root, []).append(node)
            return
        for term in cures:
            self.nearly.setdefault(term, {}).setdefault(root, []).append(node)
        if step >= first_full:
            self.full.setdefault(root, []).append(node)


@dataclass(slots=True)
class GroupSurvey:
    """One group, as if it were the only one.

    `served` are the anchors of the trees where it fits. `out` says, by step, which providers that step rules out (for
    the group without a suffix: which anchors, and the provider that got furthest there). With `exact` off, some trees
    count as served only because it would have taken too long to find out.
    """

    plan: Plan
    of: int
    slots: list[SlotSurvey]
    served: set[Member] = field(default_factory=set)
    out: dict[int, list[tuple[Member, Member]]] = field(default_factory=dict)
    exact: bool = True


def survey(
    topology: Topology[Member],
    forest: Forest,
    request: CandidateRequest,
    unknown: frozenset[str] = frozenset(),
) -> list[GroupSurvey]:
    """Return a survey per group; groups that ask for the same share one. `unknown` are names that do not exist.

    TooHard where that is more than should be looked at for one request.
    """
    parts = sum({_content(group): _parts(group) for group in request.groups}.values())
    parts += len(request.root_required) + len(request.root_forbidden)
    if parts * (len(forest.nodes) + sum(map(len, forest.spans.values()))) > MOST_LOOKS:
        raise TooHard(
            f"The request has {parts} different parts, to be looked for in {len(forest.nodes)} providers and what they "
            "share: that is too much at once. Ask for fewer groups, or for less in them."
        )
    done: dict[object, GroupSurvey] = {}
    surveys = []
    for group in request.groups:
        key = _content(group)
        if key not in done:
            tree = topology.node(group.in_tree) if group.in_tree is not None else None
            plan = plan_of(group, unknown, tree.root.uuid if tree is not None else None)
            done[key] = _survey_whole(forest, plan) if group.suffix else _survey_parts(forest, plan)
        surveys.append(done[key])
    return surveys


def _parts(group: RequestGroup) -> int:
    """Return how many things a provider is looked at for, over all slots of a group."""
    others = len(group.required_traits) + len(group.forbidden_traits) + len(group.forbidden_aggregates)
    others += len(group.member_of) + (group.in_tree is not None)
    slots = 1 if group.suffix else len(group.resources)
    return slots * others + max(1, len(group.resources))


def _content(group: RequestGroup) -> object:
    return (
        bool(group.suffix),
        tuple(group.resources.items()),
        group.required_traits,
        group.forbidden_traits,
        group.member_of,
        group.forbidden_aggregates,
        group.in_tree,
    )


def _survey_whole(forest: Forest, plan: Plan) -> GroupSurvey:
    """Judge each provider for a group that one provider has to satisfy alone."""
    slot = SlotSurvey()
    found = GroupSurvey(plan, len(forest.nodes), [slot])
    checks = plan.slots[0].own
    for node in forest.nodes:
        verdict = judge(node, checks)
        if verdict[0] != PASSED:
            found.out.setdefault(verdict[0], []).append((node.root, node))
        slot.note(verdict, node, node.root, plan.first_full)
        for root in forest.spans.get(node, ()):
            slot.note(verdict, node, root, plan.first_full)
    found.served = set(slot.fits)
    return found


def _survey_parts(forest: Forest, plan: Plan) -> GroupSurvey:
    """Judge each tree, with what is shared with it, for the group that may be spread over it."""
    found = GroupSurvey(plan, len(forest.members), [SlotSurvey() for _ in plan.slots])
    shared = {node: [judge(node, slot.shared) for slot in plan.slots] for node in forest.spans}
    together = _Together(plan)
    for root, members in forest.members.items():
        sharing = forest.shared.get(root, ())
        if len(members) == 1 and not sharing:
            entries = [[(judge(root, slot.alone), root)] for slot in plan.slots]
            clauses = False
        else:
            entries = [[(judge(node, slot.own), node) for node in members] for slot in plan.slots]
            if sharing:
                anchor = judge(root, plan.anchor)
                for node in sharing:
                    for into, verdict in zip(entries, shared[node], strict=True):
                        into.append((both(anchor, verdict), node))
            clauses = bool(plan.clauses)
        for survey_of_slot, of_slot in zip(found.slots, entries, strict=True):
            for verdict, node in of_slot:
                survey_of_slot.note(verdict, node, root, plan.first_full)
        try:
            step = together.last_step(entries) if clauses else _first_out(entries)
        except GaveUp:
            step, found.exact = PASSED, False
        if step == PASSED:
            found.served.add(root)
        else:
            found.out.setdefault(step, []).append((root, _furthest(plan, root, entries, step)))
    return found


def _first_out(entries: Sequence[Entries]) -> int:
    """Return the step at which a tree is out: the first that leaves some slot without a provider."""
    return min((max(verdict[0] for verdict, _ in of_slot) for of_slot in entries), default=PASSED)


class _Together:
    """Says at which step a tree is out where providers must have traits between them. Like trees are told once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._budget = Budget(_BUDGET)
        self._known: dict[object, int] = {}

    def last_step(self, entries: Sequence[Entries]) -> int:
        """Return the first step after which the slots cannot be filled with all traits had; GaveUp."""
        offers = tuple([tuple([(verdict[0], self._traits(node)) for verdict, node in each]) for each in entries])
        known = self._known.get(offers)
        if known is None:
            known = self._known[offers] = self._search(offers)
        return known

    def _traits(self, node: Member) -> int:
        """Return, as bits, which clauses a provider fulfils."""
        fulfilled = 0
        for bit, clause in enumerate(self._plan.clauses):
            if not clause.alternatives.isdisjoint(node.traits):
                fulfilled |= 1 << bit
        return fulfilled

    def _search(self, offers: _Offers) -> int:
        if self._alive(offers, PASSED):
            return PASSED
        low, high = 0, len(self._plan.steps) - 1
        while low < high:
            middle = (low + high) // 2
            if self._alive(offers, middle + 1):
                low = middle + 1
            else:
                high = middle
        return low

    def _alive(self, offers: _Offers, steps: int) -> bool:
        """Whether a tree has all slots filled, and all traits, when only so many steps count."""
        wanted = sum(1 << bit for bit, clause in enumerate(self._plan.clauses) if clause.verdict[0] < steps)
        had = {0}
        for of_slot in offers:
            offered = {traits & wanted for step, traits in of_slot if step >= steps}
            self._budget.spend(len(had) * len(offered))
            had = {one | other for one in had for other in offered}
        return wanted in had


def _furthest(plan: Plan, root: Member, entries: Sequence[Entries], step: int) -> Member:
    name = plan.steps[step].resource
    stopped = [node for of_slot in entries for verdict, node in of_slot if verdict[0] == step]
    if name is None or not stopped:
        return stopped[0] if stopped else root
    return max(stopped, key=lambda node: largest_free(node, name))


def largest_free(node: Member, name: str) -> int:
    """Return the most of a class that one claim could take from a provider now."""
    inventory = node.inventories.get(name)
    if inventory is None:
        return 0
    most = min(node.capacities[name] - node.used.get(name, 0), inventory.max_unit)
    most -= most % inventory.step_size
    return most if most >= inventory.min_unit else 0
