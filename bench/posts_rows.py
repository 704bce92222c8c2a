"""The rows about the posts on Placement as a graph: plain Cypher, and the service on each store, on the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.deployments import scaled
from bench.figures import Figure, Unit, ratio, written


class Where(StrEnum):
    """What is asked: Neo4j itself, or the service on a store."""

    CYPHER = "cypher"
    NEO4J = "service-neo4j"
    ETCD = "service-etcd"
    MEMORY = "service-memory"


SERVICES: Final = (Where.NEO4J, Where.ETCD, Where.MEMORY)


class Ask(StrEnum):
    """What is measured."""

    PATHS = "paths"
    NAMES = "names"
    LIMIT = "limit"
    ALL = "all"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class PostsRow:
    """One line of the table; `floors` by what they are about."""

    key: str
    work: str
    size: int
    ask: Ask
    unit: Unit
    where: tuple[Where, ...]
    # Floors, as far as there are any: a figure on Neo4j and embedded; how many times the plain query's time on Neo4j;
    # how many times faster than on Neo4j the embedded store is.
    floor: float | None = None
    floor_embedded: float | None = None
    most_times_plain: float | None = None
    least_times_faster: float | None = None

    def sized(self, scale: float) -> int:
        """Return how many compute nodes of each kind there are at a scale."""
        return scaled(self.size, scale)


def _searches(size: int) -> tuple[PostsRow, ...]:
    of = f"{2 * size:,} compute nodes"
    plain = (Where.CYPHER,)
    both = (Where.CYPHER, *SERVICES)
    return (
        PostsRow(f"posts-{size}-paths", f"{of}: as printed, with paths", size, Ask.PATHS, Unit.MS, plain),
        PostsRow(f"posts-{size}-names", f"{of}: names and uuids alone", size, Ask.NAMES, Unit.MS, plain),
        PostsRow(f"posts-{size}-limit", f"{of}: 10 of them", size, Ask.LIMIT, Unit.MS, both, 20, None, None, 10),
        PostsRow(
            f"posts-{size}-all", f"{of}: all that an answer holds", size, Ask.ALL, Unit.MS, both, None, None, 1.5, 10
        ),
    )


ROWS: Final = (
    *_searches(50),
    *_searches(1_000),
    *_searches(10_000),
    PostsRow(
        "posts-create",
        "creating 20,000 compute nodes, 180,000 graph nodes",
        10_000,
        Ask.CREATE,
        Unit.S,
        (Where.CYPHER, *SERVICES),
        20,
        5,
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A floor, and whether it is met."""

    floor: str
    met: bool


def judge(row: PostsRow, figures: Mapping[Where, Figure]) -> Sequence[Verdict]:
    """Return what is to be said of a row's floors, as far as the figures are there."""
    verdicts = []
    on_neo4j, plain = figures.get(Where.NEO4J), figures.get(Where.CYPHER)
    if row.floor is not None and on_neo4j is not None:
        verdicts.append(Verdict(f"Neo4j <= {row.floor:g} {row.unit}", on_neo4j.value <= row.floor))
    if row.floor_embedded is not None:
        for name, figure in _embedded(figures):
            floor = f"{name} <= {row.floor_embedded:g} {row.unit}"
            verdicts.append(Verdict(floor, figure.value <= row.floor_embedded))
    if row.most_times_plain is not None and on_neo4j is not None and plain is not None:
        times = on_neo4j.value / plain.value
        floor = f"Neo4j <= {row.most_times_plain:g} x Cypher ({written(times)} x)"
        verdicts.append(Verdict(floor, times <= row.most_times_plain))
    if row.least_times_faster is not None and on_neo4j is not None:
        for name, figure in _embedded(figures):
            times = ratio(row.unit, on_neo4j, figure)
            floor = f"{name} >= {row.least_times_faster:g} x as fast as Neo4j ({written(times)} x)"
            verdicts.append(Verdict(floor, times >= row.least_times_faster))
    return verdicts


def _embedded(figures: Mapping[Where, Figure]) -> Sequence[tuple[str, Figure]]:
    """Return what was measured on the embedded store, by what keeps its graph: etcd, or the process's memory alone."""
    named = (("etcd", Where.ETCD), ("memory", Where.MEMORY))
    return [(name, figures[where]) for name, where in named if where in figures]
