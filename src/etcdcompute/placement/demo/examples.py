"""The posts' examples: what graph each has, and what is asked of it, in Cypher and of the service. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.demo import cypher, topologies, walk
from etcdcompute.placement.demo.topologies import Holder, Resource, Topology

# More records than these are counted, and not shown.
MOST_SHOWN: Final = 15


@dataclass(frozen=True, slots=True)
class Record:
    """One row of an answer, as the posts show it: a compute node, a disk, and the memory where that was asked for."""

    cnode: Holder
    disk: Resource
    ram: Resource | None

    @property
    def names(self) -> tuple[str, ...]:
        """What tells it from others."""
        return (self.cnode.name, self.disk.name, *((self.ram.name,) if self.ram else ()))


@dataclass(frozen=True, slots=True)
class Search:
    """One query of a post, the like of it for the service, and what both should come to.

    The posts ask for more than so much, Placement for at least so much: 2,001 stands for "> 2000". `posted` is what the
    post prints, at the size that it prints it for. `in_full` records are the posts' dictionaries; of others they show
    the names.
    """

    asks: str
    cypher: str
    resources: Mapping[str, int]
    matches: Callable[[Topology], Sequence[Record]]
    posted: Mapping[int, int] = field(default_factory=dict)
    with_ram: bool = True
    in_full: bool = False

    @property
    def request(self) -> CandidateRequest:
        """The request for candidates."""
        return CandidateRequest((RequestGroup(resources=self.resources),))


@dataclass(frozen=True, slots=True)
class Example:
    """One post's example. `sized` tells whether there may be more of it; `searches` is empty for the consumers."""

    name: str
    says: str
    make: Callable[[int], Topology]
    searches: tuple[Search, ...] = ()
    sized: bool = False


def _ram_and_disk(ram: int, disk: int, posted: Mapping[int, int], *, directed: bool) -> Search:
    def matches(topology: Topology) -> list[Record]:
        found = walk.ram_and_disk(topology, ram, disk, directed=directed)
        return [Record(node, local, memory) for node, memory, local in found]

    return Search(
        f"ram > {ram:,} and disk > {disk:,}",
        (cypher.ram_and_disk if directed else cypher.ram_and_any_disk)(ram, disk),
        {"MEMORY_MB": ram + 1, "DISK_GB": disk + 1},
        matches,
        posted,
        in_full=directed,
    )


def _disk(disk: int, posted: int) -> Search:
    # The service gives each disk once to whoever asks for nothing else; what names the compute node is its memory.
    return Search(
        f"disk > {disk:,}",
        cypher.any_disk(disk),
        {"MEMORY_MB": 1, "DISK_GB": disk + 1},
        lambda topology: [Record(node, found, None) for node, found in walk.disks(topology, disk)],
        {topologies.USUAL_SIZE: posted},
        with_ram=False,
    )


NESTED: Final = Example(
    "nested",
    "plain compute nodes, and as many whose memory is in two NUMA nodes below them",
    topologies.nested,
    (
        _ram_and_disk(2000, 1000, {50: 78, 1_000: 1_536, 10_000: 15_354}, directed=True),
        _ram_and_disk(4000, 2000, {50: 6}, directed=True),
    ),
    sized=True,
)
SHARED: Final = Example(
    "shared",
    "a compute node with a disk of its own, and two that share two disks",
    lambda _: topologies.shared(),
    (_disk(2_000, 5), _disk(8_000, 4), _disk(50_000, 2)),
)
NESTED_AND_SHARED: Final = Example(
    "nested-shared",
    "the nested ones, and two shared disks for the first compute node of each kind",
    topologies.nested_and_shared,
    tuple(
        _ram_and_disk(4000, disk, {50: posted}, directed=False) for disk, posted in ((2000, 15), (8000, 6), (20_000, 3))
    ),
    sized=True,
)
CONSUMERS: Final = Example(
    "consumers", "a compute node, and two consumers that take from it", lambda _: topologies.consumed()
)
EXAMPLES: Final[Mapping[str, Example]] = {each.name: each for each in (NESTED, SHARED, NESTED_AND_SHARED, CONSUMERS)}
