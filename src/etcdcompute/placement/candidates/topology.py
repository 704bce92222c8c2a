"""What the search needs to know of a graph. The graph in memory has it; tests may bring their own."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

from etcdcompute.placement.candidates.request import CandidateRequest, ProviderSummary


class InventoryLike(Protocol):
    """The limits of one claim."""

    @property
    def min_unit(self) -> int:
        """The least that one claim may take."""

    @property
    def step_size(self) -> int:
        """What the amount of a claim must be a multiple of."""

    @property
    def max_unit(self) -> int:
        """The most that one claim may take."""

    def admits(self, amount: int) -> bool:
        """Whether one claim may be of this amount, whatever is free."""


class Member(Protocol):
    """One provider, with a way up its tree."""

    @property
    def uuid(self) -> str:
        """Its identity."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def parent(self) -> Self | None:
        """What it is below."""

    @property
    def root(self) -> Self:
        """The top of its tree."""

    @property
    def inventories(self) -> Mapping[str, InventoryLike]:
        """By resource class."""

    @property
    def capacities(self) -> Mapping[str, int]:
        """What can be claimed in all, by resource class."""

    @property
    def used(self) -> Mapping[str, int]:
        """What is claimed; classes without claims are left out."""

    @property
    def traits(self) -> frozenset[str]:
        """The names of its traits."""

    @property
    def aggregates(self) -> frozenset[str]:
        """The uuids of its aggregates."""

    @property
    def shares(self) -> bool:
        """Whether it shares with trees that have a member in one of its aggregates."""


class ProviderLike(Member, Protocol):
    """One provider, with a way up and down its tree, and with what makes searching fast."""

    @property
    def children(self) -> Mapping[str, Self]:
        """What is right below it, by uuid."""

    @property
    def room(self) -> Mapping[str, int]:
        """The most that one claim can take now, by resource class: what is free, and no more than the max_unit."""

    @property
    def coarse(self) -> bool:
        """Whether some inventory has a min_unit or a step_size other than 1."""

    def tree(self) -> Sequence[Self]:
        """It and all below it, parents first."""

    def summary(self) -> ProviderSummary:
        """What an answer says of it: a value that later changes do not touch."""


P = TypeVar("P", bound=Member, covariant=True)


class Topology(Protocol[P]):
    """The graph."""

    def node(self, uuid: str) -> P | None:
        """A provider by uuid."""

    def providers_with(self, resource_class: str) -> Mapping[str, P]:
        """The providers that have inventory of a class."""

    def members(self, aggregate: str) -> Mapping[str, P]:
        """The providers in an aggregate."""

    def all_nodes(self) -> Iterable[P]:
        """All providers."""

    def sharing_nodes(self) -> Iterable[P]:
        """The providers that share."""


S = TypeVar("S", bound=ProviderLike)


class Searchable(Protocol[S]):
    """The graph as a search needs it, wherever it is: the way to the trees, and what is shared."""

    def node(self, uuid: str) -> S | None:
        """A provider by uuid."""

    def sharing_nodes(self) -> Iterable[S]:
        """The providers that share."""

    def anchors(self, request: CandidateRequest, trees: Mapping[str, S]) -> Iterator[list[S]]:
        """The roots of the trees that may have candidates, some at a time, each once.

        `trees` holds the roots that groups have to be below, by suffix.
        """


class IndexedTopology(Topology[P], Protocol[P]):
    """The graph, with indexes of what is hard to find."""

    def with_room(self, resource_class: str, amount: int) -> Sequence[Collection[P]]:
        """The providers that have room for an amount, and some that have a little less; those with most room first."""

    def providers_having(self, trait: str) -> Mapping[str, P]:
        """The providers that have a trait."""
