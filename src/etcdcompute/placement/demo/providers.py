"""The posts' topologies as the service has them: provider trees, and claims on them. Pure.

the posts' graph                         the service's
(:ComputeNode)-[:CONTAINS]->(:NUMA)      a provider and its child
(…)-[:PROVIDES]->(:DISK_GB {…})          an inventory
… {used}                                 reserved: nobody is said to have claimed it, and free is total - used in both
(:VF {network: "public"})                an inventory of CUSTOM_VF_PUBLIC: a provider has one inventory of a class
(…)-[:MEMBER]->(:Aggregate)              the provider is in the aggregate
(:SharedDisk)                            a provider with the trait MISC_SHARES_VIA_AGGREGATE
(:Consumer)-[:CONSUMES {amount}]->(…)    a consumer of a project and a user with its allocations
"""

from collections.abc import Iterator
from typing import Final

from etcdcompute.placement.demo.topologies import AGGREGATE, Holder, Resource, Topology, uuid_of
from etcdcompute.placement.graph.records import Claim, Inventory
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree

# The posts' consumers belong to nobody; to be counted by project and user they have to.
PROJECT: Final = "posts"
CONSUMER_TYPE: Final = "INSTANCE"


def class_of(resource: Resource) -> str:
    """Return the resource class of one of the posts' resources."""
    return f"CUSTOM_VF_{resource.network.upper()}" if resource.network else resource.label


def trees(topology: Topology) -> Iterator[Tree]:
    """Yield one tree for each compute node and each shared disk."""
    for holder in topology.holders:
        yield Tree(tuple(_declared(holder, None)))


def claims(topology: Topology) -> list[Claim]:
    """Return what the consumers claim, one claim each; the user is called as the consumer is."""
    places = {
        resource.name: (uuid_of(holder.name), class_of(resource))
        for holder in topology.all_holders()
        for resource in holder.resources
    }
    found = []
    for taker in topology.takers:
        allocations: dict[str, dict[str, int]] = {}
        for resource, amount in taker.takes:
            provider, name = places[resource]
            allocations.setdefault(provider, {})[name] = amount
        found.append(Claim(uuid_of(taker.name), allocations, PROJECT, taker.name.lower(), CONSUMER_TYPE))
    return found


def custom_classes(topology: Topology) -> list[str]:
    """Return the custom resource classes that come into being with the trees."""
    classes = {class_of(resource) for holder in topology.all_holders() for resource in holder.resources}
    return sorted(name for name in classes if name.startswith("CUSTOM_"))


def _declared(holder: Holder, parent_uuid: str | None) -> Iterator[DeclaredProvider]:
    uuid = uuid_of(holder.name)
    inventories = {class_of(each): Inventory(each.total, reserved=each.used or 0) for each in holder.resources}
    yield DeclaredProvider(
        uuid,
        holder.name,
        parent_uuid,
        dict(sorted(inventories.items())),
        (SHARES_VIA_AGGREGATE,) if holder.label == "SharedDisk" else (),
        (uuid_of(AGGREGATE),) if holder.member else (),
    )
    for each in holder.contains:
        yield from _declared(each, uuid)
