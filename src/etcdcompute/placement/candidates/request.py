"""What is asked for, and what the answer is. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
class AllocationRequest:
    """One candidate: what to claim (provider uuid -> class -> amount), and which group comes from which providers."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider in a tree that a candidate uses: (capacity, used) per class."""

    uuid: str
    resources: Mapping[str, tuple[int, int]]
    traits: frozenset[str]
    parent_uuid: str | None
    root_uuid: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """The answer."""

    requests: tuple[AllocationRequest, ...]
    summaries: tuple[ProviderSummary, ...]
