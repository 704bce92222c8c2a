"""The search: request groups in, candidates out, one at a time.

A candidate hangs on an *anchor*, the root of one tree. What it uses comes from that tree and from providers that
share with it: those with the sharing trait that have an aggregate in common with some member of the tree.

      anchor (root) ── numa0, numa1         tree: searched
        ╎ aggregate
      storage (shares)                      shared with the tree: searched too, for this anchor

Per anchor the request becomes a list of *slots*, each to be filled by one provider: a group with a suffix is one
slot, the group without is one slot per resource class. Slots are filled in turn, the narrowest first, and a partial
filling that breaks a rule is given up at once. Everything is generated lazily: `limit` bounds the work, not just the
answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from etcdcompute.placement.candidates.fit import fits, has_traits, in_aggregates, usable
from etcdcompute.placement.candidates.request import (
    AllocationRequest,
    CandidateRequest,
    Candidates,
    ProviderSummary,
    RequestGroup,
)
from etcdcompute.placement.candidates.topology import ProviderLike, Topology

P = TypeVar("P", bound=ProviderLike)


def find_candidates(topology: Topology[P], request: CandidateRequest) -> Candidates:
    """Return the candidates, at most `request.limit` of them, and the summaries of the trees that they use."""
    requests: list[AllocationRequest] = []
    used: dict[str, P] = {}
    for allocation_request, providers in islice(search(topology, request), request.limit):
        requests.append(allocation_request)
        used.update(providers)
    if request.nested:
        roots = {node.root.uuid: node.root for node in used.values()}
        shown: Iterable[P] = (member for root in roots.values() for member in root.tree())
    else:
        shown = used.values()
    return Candidates(tuple(requests), tuple(_summary(node) for node in shown))


def search(topology: Topology[P], request: CandidateRequest) -> Iterator[tuple[AllocationRequest, dict[str, P]]]:
    """Yield each candidate with the providers that it uses by uuid."""
    sharing = _sharing_by_aggregate(topology)
    trees = {}
    for group in request.groups:
        if group.in_tree is not None:
            member = topology.node(group.in_tree)
            if member is None:
                return
            trees[group.suffix] = member.root.uuid
    seen: set[object] = set()
    for anchor in _anchors(topology, request, trees.get("")):
        filling = _Filling(request, _Reach(anchor, sharing), trees)
        for allocation_request, providers in filling.candidates():
            if sharing or len(request.groups) > 1:
                # What is shared, or asked for by like groups, is come upon from several sides.
                key = _identity(allocation_request)
                if key in seen:
                    continue
                seen.add(key)
            yield allocation_request, providers


def _identity(candidate: AllocationRequest) -> object:
    return (
        frozenset(
            (uuid, name, amount)
            for uuid, resources in candidate.allocations.items()
            for name, amount in resources.items()
        ),
        frozenset(candidate.mappings.items()),
    )


def _summary(node: ProviderLike) -> ProviderSummary:
    used = node.used
    return ProviderSummary(
        uuid=node.uuid,
        resources={name: (capacity, used.get(name, 0)) for name, capacity in node.capacities.items()},
        traits=node.traits,
        parent_uuid=node.parent.uuid if node.parent else None,
        root_uuid=node.root.uuid,
    )


def _sharing_by_aggregate(topology: Topology[P]) -> dict[str, list[P]]:
    by_aggregate: dict[str, list[P]] = {}
    for node in topology.sharing_nodes():
        for aggregate in node.aggregates:
            by_aggregate.setdefault(aggregate, []).append(node)
    return by_aggregate


def _anchors(topology: Topology[P], request: CandidateRequest, only_tree: str | None) -> Iterator[P]:
    """Yield the roots of the trees that may have what is hardest to find."""
    for root in _possible_anchors(topology, request, only_tree):
        if request.root_required <= root.traits and root.traits.isdisjoint(request.root_forbidden):
            yield root


def _possible_anchors(topology: Topology[P], request: CandidateRequest, only_tree: str | None) -> Iterator[P]:
    if only_tree is not None:
        root = topology.node(only_tree)
        if root is not None:
            yield root
        return
    rarest: Iterable[P] | None = None
    fewest = 0
    for name in sorted(request.resource_classes):
        providers = topology.providers_with(name)
        served = (
            [topology.members(aggregate) for node in providers.values() if node.shares for aggregate in node.aggregates]
            if _any_shares(topology, name)
            else []
        )
        count = len(providers) + sum(len(members) for members in served)
        if rarest is None or count < fewest:
            rarest, fewest = _chain(providers, served), count
    seen: set[str] = set()
    for node in rarest if rarest is not None else topology.all_nodes():
        root = node.root
        if root.uuid not in seen:
            seen.add(root.uuid)
            yield root


def _any_shares(topology: Topology[P], name: str) -> bool:
    return any(name in node.inventories for node in topology.sharing_nodes())


def _chain(providers: Mapping[str, P], served: list[Mapping[str, P]]) -> Iterator[P]:
    yield from providers.values()
    for members in served:
        yield from members.values()


class _Reach(Generic[P]):
    """The providers that a candidate with this anchor may use."""

    __slots__ = ("anchor", "shared", "tree")

    def __init__(self, anchor: P, sharing: Mapping[str, list[P]]) -> None:
        self.anchor = anchor
        self.tree: list[P] = list(anchor.tree())
        shared: dict[str, P] = {}
        if sharing:
            for member in self.tree:
                for aggregate in member.aggregates:
                    for node in sharing.get(aggregate, ()):
                        if node.root is not anchor:
                            shared[node.uuid] = node
        self.shared = shared.values()


@dataclass(slots=True)
class _Slot(Generic[P]):
    """Resources of one group to be had from one of the choices."""

    group: RequestGroup
    resources: Mapping[str, int]
    choices: list[P]
    ends_group: bool = False


class _Filling(Generic[P]):
    """The search for one anchor."""

    def __init__(self, request: CandidateRequest, reach: _Reach[P], trees: Mapping[str, str]) -> None:
        self._request = request
        self._reach = reach
        self._trees = trees
        self._taken: dict[tuple[str, str], int] = {}
        self._chosen: list[P] = []
        self._slots: list[_Slot[P]] = []

    def candidates(self) -> Iterator[tuple[AllocationRequest, dict[str, P]]]:
        """Yield what this anchor has to offer."""
        for group in self._request.groups:
            for slot in self._slots_of(group):
                if not slot.choices:
                    return
                self._slots.append(slot)
        if not self._may_suffice():
            return
        self._slots.sort(key=lambda slot: len(slot.choices))
        ended = set()
        for slot in reversed(self._slots):
            slot.ends_group = slot.group.suffix not in ended
            ended.add(slot.group.suffix)
        yield from self._fill(0)

    def _slots_of(self, group: RequestGroup) -> Iterator[_Slot[P]]:
        if group.suffix:
            yield _Slot(group, group.resources, list(self._whole(group)))
            return
        for name, amount in group.resources.items():
            yield _Slot(group, {name: amount}, list(self._part(group, name, amount)))

    def _whole(self, group: RequestGroup) -> Iterator[P]:
        """Yield the providers that can satisfy a group with a suffix alone."""
        tree = self._trees.get(group.suffix)
        for nodes in (self._reach.tree, self._reach.shared):
            for node in nodes:
                if (
                    all(fits(node, name, amount) for name, amount in group.resources.items())
                    and (tree is None or node.root.uuid == tree)
                    and node.traits.isdisjoint(group.forbidden_traits)
                    and has_traits(node.traits, group)
                    and node.aggregates.isdisjoint(group.forbidden_aggregates)
                    and in_aggregates(node, group)
                ):
                    yield node

    def _part(self, group: RequestGroup, name: str, amount: int) -> Iterator[P]:
        """Yield the providers that can give one class of the group without a suffix.

        An aggregate of the root spans its tree, for wanted and unwanted aggregates alike. What is shared has to be in
        a wanted aggregate itself.
        """
        anchor = self._reach.anchor
        if not anchor.aggregates.isdisjoint(group.forbidden_aggregates):
            return
        anchored = in_aggregates(anchor, group)
        for node in self._reach.tree:
            if fits(node, name, amount) and (anchored or in_aggregates(node, group)) and usable(node, group):
                yield node
        if group.suffix in self._trees:
            return
        for node in self._reach.shared:
            if fits(node, name, amount) and in_aggregates(node, group) and usable(node, group):
                yield node

    def _may_suffice(self) -> bool:
        """Whether all slots together do not ask for more than all their choices have: saves hopeless searches."""
        if len(self._slots) == 1:
            return True
        wanted: dict[str, int] = {}
        asking: dict[str, int] = {}
        for slot in self._slots:
            for name, amount in slot.resources.items():
                wanted[name] = wanted.get(name, 0) + amount
                asking[name] = asking.get(name, 0) + 1
        for name, amount in wanted.items():
            if asking[name] > 1:
                able = {
                    node.uuid: node.capacities[name] - node.used.get(name, 0)
                    for slot in self._slots
                    if name in slot.resources
                    for node in slot.choices
                }
                if sum(able.values()) < amount:
                    return False
        if self._request.isolate:
            apart = [slot for slot in self._slots if slot.group.suffix]
            return len({node.uuid for slot in apart for node in slot.choices}) >= len(apart)
        return True

    def _fill(self, index: int) -> Iterator[tuple[AllocationRequest, dict[str, P]]]:
        if index == len(self._slots):
            if self._in_subtrees() and (self._request.nested or self._one_per_tree()):
                yield self._candidate()
            return
        slot = self._slots[index]
        for node in slot.choices:
            if self._request.isolate and slot.group.suffix and self._is_taken(node, index):
                continue
            if not self._take(node, slot):
                continue
            self._chosen.append(node)
            if not slot.ends_group or slot.group.suffix or self._has_group_traits(slot.group):
                yield from self._fill(index + 1)
            self._chosen.pop()
            self._give_back(node, slot)

    def _is_taken(self, node: P, index: int) -> bool:
        return any(
            chosen is node and slot.group.suffix for chosen, slot in zip(self._chosen, self._slots[:index], strict=True)
        )

    def _take(self, node: P, slot: _Slot[P]) -> bool:
        """Note what a slot takes from a provider; False where that is too much together with other slots."""
        uuid = node.uuid
        for name, amount in slot.resources.items():
            total = self._taken.get((uuid, name), 0) + amount
            if total > amount and (
                node.used.get(name, 0) + total > node.capacities[name] or total > node.inventories[name].max_unit
            ):
                return False
        for name, amount in slot.resources.items():
            self._taken[uuid, name] = self._taken.get((uuid, name), 0) + amount
        return True

    def _give_back(self, node: P, slot: _Slot[P]) -> None:
        for name, amount in slot.resources.items():
            self._taken[node.uuid, name] -= amount

    def _has_group_traits(self, group: RequestGroup) -> bool:
        """Whether the providers chosen for the group without a suffix have its traits between them."""
        if not group.required_traits:
            return True
        traits: frozenset[str] = frozenset()
        for node, slot in zip(self._chosen, self._slots, strict=False):
            if slot.group is group:
                traits |= node.traits
        return has_traits(traits, group)

    def _in_subtrees(self) -> bool:
        for suffixes in self._request.same_subtrees:
            nodes = {
                node.uuid: node
                for node, slot in zip(self._chosen, self._slots, strict=True)
                if slot.group.suffix in suffixes
            }
            if len(nodes) > 1 and not set.intersection(*map(_line, nodes.values())) & nodes.keys():
                return False
        return True

    def _one_per_tree(self) -> bool:
        nodes = {node.uuid: node for node, slot in zip(self._chosen, self._slots, strict=True) if slot.resources}
        return len({node.root.uuid for node in nodes.values()}) == len(nodes)

    def _candidate(self) -> tuple[AllocationRequest, dict[str, P]]:
        allocations: dict[str, dict[str, int]] = {}
        mappings: dict[str, list[str]] = {group.suffix: [] for group in self._request.groups}
        used: dict[str, P] = {}
        for node, slot in zip(self._chosen, self._slots, strict=True):
            uuid = node.uuid
            if uuid not in mappings[slot.group.suffix]:
                mappings[slot.group.suffix].append(uuid)
            if slot.resources:
                used[uuid] = node
                held = allocations.setdefault(uuid, {})
                for name, amount in slot.resources.items():
                    held[name] = held.get(name, 0) + amount
        return (
            AllocationRequest(allocations, {suffix: tuple(sorted(uuids)) for suffix, uuids in mappings.items()}),
            used,
        )


def _line(node: ProviderLike) -> set[str]:
    """Return the uuids of a provider and all above it."""
    line = {node.uuid}
    above = node.parent
    while above is not None:
        line.add(above.uuid)
        above = above.parent
    return line
