"""Decisions on consumers: claims and releases. Pure.

A claim rewrites the generation of every provider it claims from, so that claims on one provider are decided one
after another whichever process they come through. A release needs no such guard: it only ever makes room.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide import expect_class, touch
from etcdcompute.placement.graph.documents import CONSUMER, ConsumerDocument, Ref
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
    for node in check_claims(graph, change, claims, {}).values():
        touch(change, node, bump=1)
    write_consumers(graph, change, claims, clock)


def check_claims(
    graph: Graph, change: Change, claims: Sequence[Claim], instead: Mapping[str, Mapping[str, Inventory]]
) -> dict[str, Node]:
    """Make sure that the claims can be; return the providers that they are about, which the caller has to touch.

    `instead` holds the inventories that providers are about to have, by uuid.
    """
    nodes = check_parties(graph, claims)
    for each in claims:
        for resources in each.allocations.values():
            for name in resources:
                expect_class(graph, change, name)
    inventories = {uuid: instead.get(uuid, node.inventories) for uuid, node in nodes.items()}
    _check_capacities(graph, claims, inventories)
    return nodes


def check_parties(graph: Graph, claims: Sequence[Claim]) -> dict[str, Node]:
    """Make sure that the consumers are as they were seen and the providers are there; return these."""
    for each in claims:
        _check_consumer(graph, each)
    return _providers(graph, claims)


def write_consumers(graph: Graph, change: Change, claims: Sequence[Claim], clock: Clock) -> None:
    """Write what the consumers have from now on."""
    now = clock()
    for each in claims:
        _write_consumer(graph, change, each, now)


def release(graph: Graph, change: Change, consumer_uuid: str) -> None:
    """End all allocations of a consumer."""
    found = graph.consumers.get(consumer_uuid)
    if found is None:
        raise ConsumerNotFound(f"No allocations for consumer '{consumer_uuid}'")
    ref = Ref(CONSUMER, consumer_uuid)
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


def _check_capacities(
    graph: Graph, claims: Sequence[Claim], inventories: Mapping[str, Mapping[str, Inventory]]
) -> None:
    """Make sure that what is claimed fits into what the same consumers' present allocations leave over."""
    used = used_without(graph, claims)
    for each in claims:
        for uuid, resources in each.allocations.items():
            for name, amount in resources.items():
                inventory = inventories[uuid].get(name)
                if inventory is None:
                    raise CannotAllocate(f"Inventory for '{name}' on resource provider '{uuid}' invalid.")
                if not inventory.admits(amount):
                    raise CannotAllocate(
                        f"Unable to create allocation for '{name}' on resource provider '{uuid}'. "
                        f"The requested amount would violate inventory constraints. {_limits(inventory, amount)}"
                    )
                key = uuid, name
                used[key] = used.get(key, _used(graph, key)) + amount
    for (uuid, name), total in used.items():
        inventory = inventories.get(uuid, {}).get(name)
        # Too much is accepted where it is no more than before: that is how an overfull provider is emptied.
        if inventory is not None and total > inventory.capacity and total > _used(graph, (uuid, name)):
            raise CannotAllocate(
                f"Unable to create allocation for '{name}' on resource provider '{uuid}'. "
                f"The requested amount would exceed the capacity. "
                f"It would use {total} of {inventory.capacity}."
            )


def used_without(graph: Graph, claims: Sequence[Claim]) -> dict[tuple[str, str], int]:
    """Return what is used of (provider, class) without what the claims' consumers have, where they have some."""
    used: dict[tuple[str, str], int] = {}
    for each in claims:
        found = graph.consumers.get(each.consumer_uuid)
        held: Allocations = found.document.allocations if found else {}
        for uuid, resources in held.items():
            for name, amount in resources.items():
                key = uuid, name
                used[key] = used.get(key, _used(graph, key)) - amount
    return used


def _used(graph: Graph, key: tuple[str, str]) -> int:
    node = graph.node(key[0])
    return node.used.get(key[1], 0) if node else 0


def _limits(inventory: Inventory, amount: int) -> str:
    return (
        f"{amount} is asked for; min_unit is {inventory.min_unit}, max_unit {inventory.max_unit}, "
        f"step_size {inventory.step_size}."
    )


def _write_consumer(graph: Graph, change: Change, claim: Claim, now: float) -> None:
    found = graph.consumers.get(claim.consumer_uuid)
    ref = Ref(CONSUMER, claim.consumer_uuid)
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
