"""The whole graph as a document: the same bytes from every process at the same revision.

A snapshot holds references to immutable documents only, so that taking it is quick; writing it out needs no lock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from etcdcompute.placement.graph.documents import ConsumerDocument, ProviderDocument
from etcdcompute.placement.graph.memory import Graph

# Keys in the order of the alphabet, in mappings and in structures.
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class ShownInventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inventory as exports and events show it: with all that it has, the defaults too."""

    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float


class ShownProvider(msgspec.Struct, frozen=True):
    """A provider as exports and events show it. Times are seconds since the epoch."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    inventories: Mapping[str, ShownInventory]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]
    created_at: float
    updated_at: float


class ShownConsumer(msgspec.Struct, frozen=True):
    """A consumer as exports and events show it; allocations by provider and resource class."""

    uuid: str
    generation: int
    project_id: str
    user_id: str
    consumer_type: str | None
    allocations: Mapping[str, Mapping[str, int]]
    updated_at: float


class Export(msgspec.Struct, frozen=True):
    """The whole document."""

    revision: int
    providers: list[ShownProvider]
    consumers: list[ShownConsumer]
    traits: list[str]
    resource_classes: list[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The graph as it stood at a revision: providers with generations, consumers, custom names with their times."""

    revision: int
    providers: list[tuple[ProviderDocument, int]]
    consumers: list[ConsumerDocument]
    traits: Mapping[str, float]
    resource_classes: Mapping[str, float]


def take_snapshot(graph: Graph) -> Snapshot:
    """Return what the graph holds now; the caller holds it still, at its head."""
    return Snapshot(
        graph.head,
        [(node.document, node.generation) for node in graph.providers.values()],
        [each.document for each in graph.consumers.values()],
        {name: created_at for name, (created_at, _) in graph.custom_traits.items()},
        {name: created_at for name, (created_at, _) in graph.custom_classes.items()},
    )


def show_provider(document: ProviderDocument, generation: int) -> ShownProvider:
    """Return a provider in the form of exports and events."""
    return ShownProvider(
        document.uuid,
        document.name,
        generation,
        document.parent_uuid,
        {name: ShownInventory(*msgspec.structs.astuple(each)) for name, each in document.inventories.items()},
        document.traits,
        document.aggregates,
        document.created_at,
        document.updated_at,
    )


def show_consumer(document: ConsumerDocument) -> ShownConsumer:
    """Return a consumer in the form of exports and events."""
    return ShownConsumer(
        document.uuid,
        document.generation,
        document.project_id,
        document.user_id,
        document.consumer_type,
        document.allocations,
        document.updated_at,
    )


def encode(value: object) -> bytes:
    """Return the one JSON form of a value made of structures, mappings and lists."""
    return _ENCODER.encode(value)


def to_json(snapshot: Snapshot) -> bytes:
    """Return the snapshot as JSON: everything by uuid or name, keys sorted."""
    providers = sorted(snapshot.providers, key=lambda each: each[0].uuid)
    return encode(
        Export(
            snapshot.revision,
            [show_provider(document, generation) for document, generation in providers],
            [show_consumer(document) for document in sorted(snapshot.consumers, key=_uuid_of)],
            sorted(snapshot.traits),
            sorted(snapshot.resource_classes),
        )
    )


def usages(consumers: Iterable[ConsumerDocument]) -> dict[str, dict[str, int]]:
    """Return what is claimed in all, by provider and resource class."""
    used: dict[str, dict[str, int]] = {}
    for consumer in consumers:
        for uuid, resources in consumer.allocations.items():
            sums = used.setdefault(uuid, {})
            for name, amount in resources.items():
                sums[name] = sums.get(name, 0) + amount
    return used


def _uuid_of(document: ConsumerDocument) -> str:
    return document.uuid
