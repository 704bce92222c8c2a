"""Decisions on consumers: claims and releases. Pure.

A claim rewrites the generation of every provider it claims from, so that claims on one provider are decided one
after another whichever process they come through. A release needs no such guard: it only ever makes room.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide import expect_class, touch
from etcdcompute.placement.graph.documents import ConsumerDocument, Kind, Ref
from etcdcompute.placement.graph.errors import (
    CannotAllocate,
    ConsumerGenerationConflict,
    ConsumerNotFound,
    UnknownProvider,
)
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import ANY, Allocations, Claim, Inventory

Clock = Callable[[], float]


def claim(graph: Graph, change: Change, claims: Sequence[Claim], clock: Clock = time.time) -> None:
    """Replace the allocations of all the consumers at once."""
    for each in claims:
        _check_consumer(graph, each)
    nodes = _providers(graph, claims)
    for each in claims:
        for resources in each.allocations.values():
            for name in resources:
                expect_class(graph, change, name)
    _check_capacities(graph, claims, nodes)
    for node in nodes.values():
        touch(change, node, bump=True)
    now = clock()
    for each in claims:
        _write_consumer(graph, change, each, now)


def release(graph: Graph, change: Change, consumer_uuid: str) -> None:
    """End all allocations of a consumer."""
    found = graph.consumers.get(consumer_uuid)
    if found is None:
        raise ConsumerNotFound(f"No allocations for consumer '{consumer_uuid}'")
    ref = Ref(Kind.CONSUMER, consumer_uuid)
    change.expect(ref, found.revision)
    change.remove(ref)


def _check_consumer(graph: Graph, claim: Claim) -> None:
    if claim.generation is ANY:
        return
    found = graph.consumers.get(claim.consumer_uuid)
    expected = found.document.generation if found else None
    if expected != claim.generation:
        raise ConsumerGenerationConflict(
            f"consumer generation conflict - expected {'null' if expected is None else expected} "
            f"but got {claim.generation}"
        )


def _providers(graph: Graph, claims: Sequence[Claim]) -> dict[str, Node]:
    """Return the providers that the claims are about; where a consumer gives all up, those it gives back to."""
    nodes: dict[str, Node] = {}
    for each in claims:
        uuids: Mapping[str, object] = each.allocations
        if not uuids:
            found = graph.consumers.get(each.consumer_uuid)
            uuids = found.document.allocations if found else {}
        for uuid in uuids:
            node = graph.node(uuid)
            if node is None:
                raise UnknownProvider(f"Allocation for resource provider '{uuid}' that does not exist.")
            nodes[uuid] = node
    return nodes


def _check_capacities(graph: Graph, claims: Sequence[Claim], nodes: Mapping[str, Node]) -> None:
    """Make sure that what is claimed fits into what the same consumers' present allocations leave over."""
    used: dict[tuple[str, str], int] = {}
    for each in claims:
        found = graph.consumers.get(each.consumer_uuid)
        held: Allocations = found.document.allocations if found else {}
        for uuid, resources in held.items():
            for name, amount in resources.items():
                key = uuid, name
                node = graph.node(uuid)
                used[key] = used.get(key, node.used.get(name, 0) if node else 0) - amount
    for each in claims:
        for uuid, resources in each.allocations.items():
            node = nodes[uuid]
            for name, amount in resources.items():
                inventory = node.inventories.get(name)
                if inventory is None:
                    raise CannotAllocate(f"Inventory for '{name}' on resource provider '{uuid}' invalid.")
                if not inventory.admits(amount):
                    raise CannotAllocate(
                        f"Unable to create allocation for '{name}' on resource provider '{uuid}'. "
                        f"The requested amount would violate inventory constraints. {_limits(inventory, amount)}"
                    )
                key = uuid, name
                used[key] = used.get(key, node.used.get(name, 0)) + amount
    for (uuid, name), total in used.items():
        if uuid not in nodes or name not in nodes[uuid].inventories:
            continue
        node = nodes[uuid]
        capacity = node.capacities[name]
        # Too much is accepted where it is no more than before: that is how an overfull provider is emptied.
        if total > capacity and total > node.used.get(name, 0):
            raise CannotAllocate(
                f"Unable to create allocation for '{name}' on resource provider '{uuid}'. "
                f"The requested amount would exceed the capacity. "
                f"It would use {total} of {capacity}."
            )


def _limits(inventory: Inventory, amount: int) -> str:
    return (
        f"{amount} is asked for; min_unit is {inventory.min_unit}, max_unit {inventory.max_unit}, "
        f"step_size {inventory.step_size}."
    )


def _write_consumer(graph: Graph, change: Change, claim: Claim, now: float) -> None:
    found = graph.consumers.get(claim.consumer_uuid)
    ref = Ref(Kind.CONSUMER, claim.consumer_uuid)
    change.expect(ref, found.revision if found else 0)
    if not claim.allocations:
        if found:
            change.remove(ref)
        return
    before = found.document if found else None
    change.put(
        ref,
        ConsumerDocument(
            uuid=claim.consumer_uuid,
            generation=before.generation + 1 if before else 1,
            project_id=claim.project_id,
            user_id=claim.user_id,
            consumer_type=claim.consumer_type or (before.consumer_type if before else None),
            allocations={uuid: dict(resources) for uuid, resources in claim.allocations.items()},
            updated_at=now,
        ),
    )
