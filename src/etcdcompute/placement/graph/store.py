"""The store protocol, in the domain's terms. The embedded store is one; a graph database may be another.

Reads see every write that was acknowledged, through whichever process, before they began. Writes are atomic. All
raise Unavailable where the store cannot be reached, and the errors of `errors.py` where they refuse.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from etcdcompute.errors import EtcdComputeError
from etcdcompute.placement.candidates.request import CandidateRequest, Candidates
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.feed import Feed
from etcdcompute.placement.graph.questions import QueryResult
from etcdcompute.placement.graph.records import (
    Claim,
    Consumer,
    ConsumerUsage,
    Inventory,
    Named,
    NewInventories,
    Provider,
    ProviderFilter,
)
from etcdcompute.placement.graph.restoring import Restores
from etcdcompute.placement.graph.trees import Tree, TreeOutcome
from etcdcompute.placement.insight.capacity import Capacity
from etcdcompute.placement.insight.explanation import Explanation


class Reads(Protocol):
    """What can be asked."""

    def get_provider(self, uuid: str) -> Provider:
        """Return a provider; ProviderNotFound."""

    def list_providers(self, wanted: ProviderFilter) -> list[Provider]:
        """Return the providers that match; UnknownTrait, UnknownResourceClass."""

    def get_consumer(self, uuid: str) -> tuple[Consumer | None, Mapping[str, int]]:
        """Return a consumer, None where it has nothing, and the generations of the providers it claims from."""

    def list_provider_consumers(self, uuid: str) -> tuple[Provider, list[Consumer]]:
        """Return who claims from a provider; ProviderNotFound."""

    def get_tree(self, uuid: str) -> Tree:
        """Return the tree of a root; ProviderNotFound, ProviderElsewhere where it is no root."""

    def list_usages(self, project_id: str, user_id: str | None, consumer_type: str | None) -> list[ConsumerUsage]:
        """Return a project's use per consumer type; only one type, or "all" of them summed up, where that is given."""

    def find_candidates(self, request: CandidateRequest) -> Candidates:
        """Return where a request fits; UnknownTrait, UnknownResourceClass."""

    def explain(self, request: CandidateRequest) -> Explanation:
        """Return why a request has candidates, or none; also where it names what does not exist."""

    def compute_capacity(self, request: CandidateRequest) -> Capacity:
        """Return how many more of a request fit; UnknownTrait, UnknownResourceClass."""

    def get_trait(self, name: str) -> Named:
        """Return a trait; TraitNotFound."""

    def list_traits(self, names: Collection[str] | None, prefix: str | None, associated: bool | None) -> list[Named]:
        """Return traits by name; `associated` asks for those that providers have (True) or none has (False)."""

    def get_resource_class(self, name: str) -> Named:
        """Return a resource class; ResourceClassNotFound."""

    def list_resource_classes(self) -> list[Named]:
        """Return all resource classes."""

    def take_snapshot(self) -> Snapshot:
        """Return the whole graph as it stands at one revision."""

    def follow_changes(self) -> Feed:
        """Return what has changed lately, and where to hear of what will; all that was written before is in it."""

    def query(self, statement: str, parameters: Mapping[str, Any], *, timeout_s: float, most_rows: int) -> QueryResult:
        """Return what a query in the store's own language finds, which may only read.

        Raises NoQueryLanguage where the store has none, QueryMayOnlyRead, QueryTooLong, QueryTooLarge, InvalidInput.
        """


class Writes(Protocol):
    """What can be changed. Where a `generation` is None, the current one is meant."""

    def create_provider(self, uuid: str, name: str, parent_uuid: str | None) -> Provider:
        """Create a provider; NameTaken, BadProviderTree."""

    def update_provider(self, uuid: str, name: str, parent_uuid: str | None, *, move: bool, reparent: bool) -> Provider:
        """Rename a provider and, with `move`, put it below another; from one parent to another only with `reparent`."""

    def delete_provider(self, uuid: str) -> None:
        """Remove a provider; ProviderInUse, ProviderHasChildren."""

    def set_inventories(self, uuid: str, inventories: Mapping[str, Inventory], generation: int | None) -> Provider:
        """Replace all inventories; GenerationConflict, InventoryInUse, UnknownResourceClass."""

    def add_inventory(self, uuid: str, resource_class: str, inventory: Inventory) -> Provider:
        """Add one inventory; InventoryExists."""

    def update_inventory(self, uuid: str, resource_class: str, inventory: Inventory, generation: int) -> Provider:
        """Replace one inventory; InventoryNotFound."""

    def delete_inventory(self, uuid: str, resource_class: str) -> None:
        """Remove one inventory; InventoryNotFound, InventoryInUse."""

    def set_traits(self, uuid: str, traits: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's traits; GenerationConflict, UnknownTrait."""

    def set_aggregates(self, uuid: str, aggregates: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's aggregates; without `generation` the provider's own stays as it is."""

    def declare_tree(self, tree: Tree) -> TreeOutcome:
        """Make a tree what is declared, all or nothing; see `decide_trees.declare_tree`."""

    @property
    def trees_at_once(self) -> int:
        """How many trees a caller who has many best gives to each call of `declare_trees`."""

    def declare_trees(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        """Declare trees in any order, each all or nothing; return what each came to or why it was refused."""

    def delete_tree(self, uuid: str) -> list[str]:
        """Remove a tree that holds no allocations, if it is there; return the uuids that were; ProviderInUse, …"""

    def claim(self, claims: Sequence[Claim]) -> None:
        """Replace the allocations of consumers, all or none; CannotAllocate, ConsumerGenerationConflict, …"""

    def release(self, consumer_uuid: str) -> None:
        """End a consumer's allocations; ConsumerNotFound."""

    def reshape(self, inventories: Mapping[str, NewInventories], claims: Sequence[Claim]) -> None:
        """Replace inventories of providers and allocations of consumers, all or none; the errors of both."""

    def create_trait(self, name: str) -> bool:
        """Make sure that a custom trait exists; True where it did not."""

    def delete_trait(self, name: str) -> None:
        """Remove a custom trait; TraitNotFound, StandardName, TraitInUse."""

    def create_resource_class(self, name: str) -> bool:
        """Make sure that a custom resource class exists; True where it did not."""

    def rename_resource_class(self, name: str, new_name: str) -> None:
        """Give a custom class that no provider has inventory of another name; NameTaken, ResourceClassInUse."""

    def delete_resource_class(self, name: str) -> None:
        """Remove a custom resource class; ResourceClassNotFound, StandardName, ResourceClassInUse."""


class GraphStore(Reads, Writes, Restores, Protocol):
    """The graph, its life cycle included."""

    def start(self) -> None:
        """Begin to serve; returns at once, also where the store's dependencies are down."""

    def check_health(self) -> dict[str, str]:
        """Return, per dependency, "ok" or what is wrong with it."""

    def close(self) -> None:
        """Stop, within a second or so."""
