"""The posts' topologies as values, in the posts' own terms: what provides what, contains what, and is a member.

Pure. Names and amounts are those of the scripts beside the posts (github.com/EdLeafe/neo4j, create_*.py).
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

AGGREGATE: Final = "agg"
# What a script without arguments makes: as many plain compute nodes, and as many with two NUMA nodes.
USUAL_SIZE: Final = 50
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://blog.leafe.com/placement-graph-examples/")


@dataclass(frozen=True, slots=True)
class Resource:
    """A node of its own in the posts' graph: so much of DISK_GB, MEMORY_MB, VCPU or VF.

    `used` is None where the post keeps no such property; `network` is empty but for VFs.
    """

    label: str
    name: str
    total: int
    used: int | None = 0
    network: str = ""

    @property
    def free(self) -> int:
        """What the posts' queries compare: total - used."""
        return self.total - (self.used or 0)


@dataclass(frozen=True, slots=True)
class Holder:
    """What has resources: a ComputeNode, a NUMA node in one, or a SharedDisk; `member` of the one aggregate or not."""

    label: str
    name: str
    resources: tuple[Resource, ...]
    contains: tuple["Holder", ...] = ()
    member: bool = False

    def below(self) -> Iterator["Holder"]:
        """Yield it and all that it contains, outer ones first."""
        yield self
        for each in self.contains:
            yield from each.below()


@dataclass(frozen=True, slots=True)
class Taker:
    """A consumer: what it takes, by the names of the resources."""

    name: str
    pk: int
    takes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """One script's graph."""

    holders: tuple[Holder, ...]
    takers: tuple[Taker, ...] = ()

    def all_holders(self) -> Iterator[Holder]:
        """Yield all holders, outer ones first."""
        for each in self.holders:
            yield from each.below()

    @property
    def members(self) -> list[Holder]:
        """The members of the aggregate."""
        return [each for each in self.holders if each.member]

    @property
    def graph_nodes(self) -> int:
        """How many nodes the posts' graph has."""
        holders = list(self.all_holders())
        inside = len(holders) + sum(len(each.resources) for each in holders)
        return inside + len(self.takers) + (1 if self.members else 0)

    @property
    def relationships(self) -> int:
        """How many relationships the posts' graph has."""
        owned = sum(len(each.resources) + len(each.contains) for each in self.all_holders())
        return owned + len(self.members) + sum(len(each.takes) for each in self.takers)


def uuid_of(name: str) -> str:
    """Return the uuid of a thing by its name: the same in every run."""
    return str(uuid.uuid5(_NAMESPACE, name))


def nested(size: int) -> Topology:
    """Return `size` plain compute nodes and `size` with two NUMA nodes; each of a kind has less left than the last."""
    return Topology((*_plain(size), *_with_numa(size)))


def shared() -> Topology:
    """Return a compute node with a disk of its own, and two that share two disks through an aggregate."""
    local = (Resource("DISK_GB", "local_disk", 4000), Resource("MEMORY_MB", "local_ram", 4096))
    return Topology(
        (
            Holder("ComputeNode", "simple_node", local),
            *(
                Holder("ComputeNode", f"cn_shared{n}", (Resource("MEMORY_MB", f"local_ram{n}", 4096),), member=True)
                for n in (1, 2)
            ),
            *_SHARED_DISKS,
        )
    )


def nested_and_shared(size: int) -> Topology:
    """Return what `nested` does, with two shared disks for the first compute node of each kind."""
    return Topology((*_SHARED_DISKS, *_plain(size, members=1), *_with_numa(size, members=1)))


def consumed() -> Topology:
    """Return one compute node and two consumers."""
    resources = (
        Resource("VCPU", "vcpu", 8, None),
        Resource("DISK_GB", "disk", 4000, None),
        Resource("MEMORY_MB", "ram", 4096, None),
    )
    return Topology(
        (Holder("ComputeNode", "simple_node", resources),),
        (
            Taker("Jay", 1, (("vcpu", 2), ("ram", 1024), ("disk", 500))),
            Taker("Ed", 2, (("vcpu", 1), ("ram", 512), ("disk", 250))),
        ),
    )


_SHARED_DISKS: Final = (
    Holder("SharedDisk", "sd_small", (Resource("DISK_GB", "gb_small", 10_000),), member=True),
    Holder("SharedDisk", "sd_big", (Resource("DISK_GB", "gb_big", 100_000),), member=True),
)


@dataclass(frozen=True, slots=True)
class _Share:
    """How much of everything is used in the compute node of this number."""

    number: int
    size: int

    def of(self, label: str, prefix: str, total: int, network: str = "") -> Resource:
        # As the scripts compute it, in floating point.
        used = int(total * (self.number / self.size))
        return Resource(label, self.named(prefix), total, used, network)

    def named(self, prefix: str) -> str:
        return f"{prefix}{self.number:04d}"


def _plain(size: int, *, members: int = 0) -> Iterator[Holder]:
    for number in range(size):
        part = _Share(number, size)
        resources = (
            part.of("DISK_GB", "disk", 2048),
            part.of("MEMORY_MB", "ram", 4096),
            part.of("VCPU", "vcpu", 8),
            part.of("VF", "vfpub", 8, "public"),
            part.of("VF", "vfpriv", 8, "private"),
        )
        yield Holder("ComputeNode", part.named("cn"), resources, member=number < members)


def _with_numa(size: int, *, members: int = 0) -> Iterator[Holder]:
    for number in range(size):
        part = _Share(number, size)
        numa_nodes = tuple(
            Holder(
                "NUMA",
                part.named(f"numa{side}"),
                (
                    part.of("MEMORY_MB", f"ramNuma{side}", 4096),
                    part.of("VCPU", f"vcpuNuma{side}", 4),
                    part.of("VF", f"vfprivNuma{side}", 8, "private"),
                    part.of("VF", f"vfpubNuma{side}", 8, "public"),
                ),
            )
            for side in ("A", "B")
        )
        disk = (part.of("DISK_GB", "diskNuma", 2048),)
        yield Holder("ComputeNode", part.named("cnNuma"), disk, numa_nodes, member=number < members)
