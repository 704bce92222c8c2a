"""What is asked for, and what the answer is. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """Resources that belong together.

    The group with the empty suffix may be spread over a tree and what is shared with it; its required traits must be
    there collectively. A group with a suffix comes from one single provider. `member_of` and `required_traits` are
    conjunctions of alternatives. `in_tree` is any provider's uuid: its whole tree is meant.
    """

    suffix: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    required_traits: tuple[frozenset[str], ...] = ()
    forbidden_traits: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    forbidden_aggregates: frozenset[str] = frozenset()
    in_tree: str | None = None


@dataclass(frozen=True, slots=True)
class CandidateRequest:
    """A whole request.

    `isolate`: groups with suffixes come from different providers. `same_subtree`: for each set of suffixes, one of
    their providers is an ancestor of (or is) all of them. `root_required` and `root_forbidden` are about the root of
    the tree that anchors a candidate. With `nested` off, candidates that use two providers of one tree are left out.
    """

    groups: tuple[RequestGroup, ...]
    isolate: bool = False
    same_subtrees: tuple[frozenset[str], ...] = ()
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    limit: int | None = None
    nested: bool = True

    @property
    def slots(self) -> tuple["Slot", ...]:
        """What single providers have to give, in the order of the groups."""
        return tuple(
            Slot(group, part)
            for group in self.groups
            for part in ([group.resources] if group.suffix else [{name: n} for name, n in group.resources.items()])
        )

    @property
    def resource_classes(self) -> frozenset[str]:
        """All classes that any group asks for."""
        return frozenset(name for group in self.groups for name in group.resources)

    @property
    def traits(self) -> frozenset[str]:
        """All traits that are named anywhere."""
        named: set[str] = set(self.root_required | self.root_forbidden)
        for group in self.groups:
            named |= group.forbidden_traits
            named.update(*group.required_traits)
        return frozenset(named)


@dataclass(frozen=True, slots=True)
class Slot:
    """What one provider gives: all of a group with a suffix, one class of the group without."""

    group: RequestGroup
    resources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One candidate: what to claim (provider uuid -> class -> amount), and which group comes from which providers."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class ProviderSummary:
    """A provider in a tree that a candidate uses: what can be claimed in all, and what is, per class.

    A value like the others, except that whoever writes it down may keep the `text` here.
    """

    uuid: str
    capacities: Mapping[str, int]
    used: Mapping[str, int]
    traits: frozenset[str]
    parent_uuid: str | None
    root_uuid: str
    text: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def resources(self) -> dict[str, tuple[int, int]]:
        """(capacity, used) by resource class."""
        return {name: (capacity, self.used.get(name, 0)) for name, capacity in self.capacities.items()}


class HasUuid(Protocol):
    """A provider, as far as an answer is concerned."""

    @property
    def uuid(self) -> str:
        """Its identity."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The answer: for each candidate the providers that fill the slots, in the order of the slots."""

    slots: tuple[Slot, ...]
    fillings: Sequence[tuple[HasUuid, ...]]
    summaries: Sequence[ProviderSummary]

    @property
    def requests(self) -> list[AllocationRequest]:
        """The candidates in full."""
        return [allocation_request(self.slots, [node.uuid for node in filling]) for filling in self.fillings]


def allocation_request(slots: Sequence[Slot], uuids: Sequence[str]) -> AllocationRequest:
    """Return what it means that these providers fill the slots."""
    allocations: dict[str, dict[str, int]] = {}
    mappings: dict[str, set[str]] = {}
    for slot, uuid in zip(slots, uuids, strict=True):
        mappings.setdefault(slot.group.suffix, set()).add(uuid)
        if slot.resources:
            held = allocations.setdefault(uuid, {})
            for name, amount in slot.resources.items():
                held[name] = held.get(name, 0) + amount
    return AllocationRequest(allocations, {suffix: tuple(sorted(uuids)) for suffix, uuids in mappings.items()})
