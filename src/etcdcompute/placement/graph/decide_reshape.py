"""The decision to reshape: inventories of providers and allocations of consumers change together, or not at all. Pure.

It moves, say, a host's VCPU inventory and what is claimed of it to a new child, though neither could move first: an
inventory that is claimed from cannot go, and there is nothing to claim from where it has not come yet.

        compute (VCPU, DISK_GB)            compute (DISK_GB)
                                    →         └── numa0 (VCPU)
"""

import time
from collections.abc import Callable, Mapping, Sequence

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide import change_document, existing, expect_class, inventory_in_use, touch
from etcdcompute.placement.graph.decide_claims import check_claims, check_parties, used_without, write_consumers
from etcdcompute.placement.graph.errors import GenerationConflict
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import Claim, NewInventories
from etcdcompute.placement.graph.standard import class_order

Clock = Callable[[], float]


def reshape(
    graph: Graph,
    change: Change,
    inventories: Mapping[str, NewInventories],
    claims: Sequence[Claim],
    clock: Clock = time.time,
) -> None:
    """Replace the inventories of providers, by uuid, and the allocations of consumers at once."""
    for uuid, wanted in inventories.items():
        _check_provider(graph, uuid, wanted)
    check_parties(graph, claims)
    for wanted in inventories.values():
        for name in wanted.inventories:
            expect_class(graph, change, name)
    # A class that goes is still there for the claims: what is left of it afterwards refuses the change.
    planned = {uuid: {**existing(graph, uuid).inventories, **each.inventories} for uuid, each in inventories.items()}
    claimed = check_claims(graph, change, claims, planned)
    for uuid, wanted in inventories.items():
        node = existing(graph, uuid)
        _check_unused(graph, node, wanted, claims)
        # OpenStack counts the steps by which it gets there, and clients know by how much: the inventories with those
        # that go, the allocations, the inventories without.
        steps = bool(wanted.inventories) + (uuid in claimed) + 1
        change_document(change, node, clock, bump=steps, inventories=dict(sorted(wanted.inventories.items())))
    for uuid, node in claimed.items():
        if uuid not in inventories:
            touch(change, node, bump=1)
    write_consumers(graph, change, claims, clock)


def _check_provider(graph: Graph, uuid: str, wanted: NewInventories) -> None:
    node = existing(graph, uuid)
    if wanted.generation != node.generation:
        raise GenerationConflict(
            f"resource provider generation conflict for provider {uuid}: actual: {node.generation}, "
            f"given: {wanted.generation}"
        )


def _check_unused(graph: Graph, node: Node, wanted: NewInventories, claims: Sequence[Claim]) -> None:
    """Make sure that nobody has anything of the inventories that go."""
    left = {**node.used}
    for (uuid, name), amount in used_without(graph, claims).items():
        if uuid == node.uuid:
            left[name] = amount
    for claim in claims:
        for name, amount in claim.allocations.get(node.uuid, {}).items():
            left[name] = left.get(name, 0) + amount
    gone = [name for name in node.inventories if name not in wanted.inventories and left.get(name)]
    if gone:
        raise inventory_in_use(graph, node, sorted(gone, key=class_order))
