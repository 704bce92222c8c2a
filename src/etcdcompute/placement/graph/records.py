"""The values of the graph: immutable, no I/O, no etcd. Amounts are whole numbers in the unit of their class."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

MAX_INT: Final = 2147483647


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much of one resource class a provider has, and in which portions it can be claimed.

    Stored without what is as it is unless somebody says otherwise, which of most providers is half of the bytes.
    """

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MAX_INT
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        """What can be claimed in all: (total - reserved) x allocation_ratio, rounded towards zero."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    def admits(self, amount: int) -> bool:
        """Whether one claim may be of this amount, whatever is free."""
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0


Resources = Mapping[str, int]  # resource class -> amount
Allocations = Mapping[str, Resources]  # provider uuid -> resources


@dataclass(frozen=True, slots=True)
class Provider:
    """A resource provider as one read saw it. Times are seconds since the epoch."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str
    inventories: Mapping[str, Inventory]
    traits: frozenset[str]
    aggregates: frozenset[str]
    used: Resources
    updated_at: float


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who has claimed what. `consumer_type` is None for consumers written before types existed."""

    uuid: str
    generation: int
    project_id: str
    user_id: str
    consumer_type: str | None
    allocations: Allocations
    updated_at: float


@dataclass(frozen=True, slots=True)
class Named:
    """A trait or resource class; `created_at` is None for the standard ones."""

    name: str
    created_at: float | None


@dataclass(frozen=True, slots=True)
class ConsumerUsage:
    """The use of one group of consumers: their type ("all", "unknown" or a type), their number, the sums."""

    consumer_type: str
    consumer_count: int
    resources: Resources


class AnyGeneration(Enum):
    """Stands for "whatever the generation is", which None, a consumer that must not exist, does not."""

    ANY = "any"


ANY: Final = AnyGeneration.ANY


@dataclass(frozen=True, slots=True)
class Claim:
    """What a consumer shall have from now on; empty allocations end it.

    `generation` is the consumer's, None for one that must not exist yet, or ANY. `consumer_type` None leaves the
    type as it is.
    """

    consumer_uuid: str
    allocations: Allocations
    project_id: str
    user_id: str
    consumer_type: str | None = None
    generation: int | AnyGeneration | None = ANY


@dataclass(frozen=True, slots=True)
class NewInventories:
    """All inventories that a provider shall have from now on; `generation` is what it was when they were planned."""

    generation: int
    inventories: Mapping[str, Inventory]


@dataclass(frozen=True, slots=True)
class ProviderFilter:
    """Which providers to list; None means "not asked", an empty collection means "nothing can match"."""

    name: str | None = None
    uuid: str | None = None
    in_tree: str | None = None
    resources: Resources | None = None
    required_traits: tuple[frozenset[str], ...] = ()
    forbidden_traits: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    forbidden_aggregates: frozenset[str] = frozenset()
