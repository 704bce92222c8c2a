"""What the posts' patterns match, worked out without a database: which resources a compute node is connected with.

`(node)-[*]->(resource)` follows arrows: CONTAINS and PROVIDES, down. `(node)-[*]-(resource)` does not ask for the
direction and walks through the aggregate as well, into every member of it, and down again from there.
"""

from collections.abc import Iterator

from etcdcompute.placement.demo.topologies import Holder, Resource, Topology

Found = tuple[Holder, Resource, Resource]  # the compute node, its memory, a disk


def down(holder: Holder, label: str, more_than: int) -> Iterator[Resource]:
    """Yield what an arrow leads to, of one label, with more than so much free."""
    for each in holder.below():
        for resource in each.resources:
            if resource.label == label and resource.free > more_than:
                yield resource


def anywhere(topology: Topology, holder: Holder, label: str, more_than: int) -> Iterator[Resource]:
    """Yield what is connected with a holder in whichever way."""
    yield from down(holder, label, more_than)
    if holder.member:
        for each in topology.members:
            if each is not holder:
                yield from down(each, label, more_than)


def compute_nodes(topology: Topology) -> Iterator[Holder]:
    """Yield the compute nodes."""
    return (each for each in topology.holders if each.label == "ComputeNode")


def ram_and_disk(topology: Topology, ram: int, disk: int, *, directed: bool) -> list[Found]:
    """Return each compute node with each memory of its own and each disk that it is said to be connected with."""
    return [
        (node, memory, found)
        for node in compute_nodes(topology)
        for memory in down(node, "MEMORY_MB", ram)
        for found in (down(node, "DISK_GB", disk) if directed else anywhere(topology, node, "DISK_GB", disk))
    ]


def disks(topology: Topology, disk: int) -> list[tuple[Holder, Resource]]:
    """Return each compute node with each disk that it is connected with in whichever way."""
    return [(node, found) for node in compute_nodes(topology) for found in anywhere(topology, node, "DISK_GB", disk)]


def owner_of(topology: Topology, disk: Resource) -> Holder | None:
    """Return the compute node whose own a disk is, None for a shared one."""
    return next((node for node in compute_nodes(topology) if disk in node.resources), None)


def is_foreign(topology: Topology, node: Holder, disk: Resource) -> bool:
    """Tell whether a disk is the own one of another compute node."""
    return owner_of(topology, disk) not in (None, node)
