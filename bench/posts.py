"""The posts' query and their creation of 20,000 compute nodes, measured: plain Cypher, and our service on each store.

One Neo4j serves first the posts' own graph and then the service's. Figures are the least of several, on both sides:
what a query costs, not what else the machine did.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Final

from neo4j import Driver, GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

from bench.figures import Figure
from bench.posts_rows import Ask, PostsRow, Where
from bench.profiling import profiled
from bench.servers import Server
from bench.sides import Ours, Service, serving
from bench.wire import BenchError, Connection, prepare
from etcdcompute.placement.demo import cypher, providers, topologies, walk
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree
from tests.functional.neo4j_server import Neo4jServer

Say = Callable[[str], None]
Report = Callable[[PostsRow, Where, Figure | str], None]

_RAM: Final = 2000
_DISK: Final = 1000
_LIMIT: Final = 10
_REPEATS: Final = 7
_REPEATED_CREATIONS: Final = 3
_HEAP: Final = "4g"
_WARM_UP_S: Final = 10.0
_WARM_UP_MOST: Final = 200
_WARM_MOST_S: Final = 60.0
_WARM_PAUSE_S: Final = 0.5
_UNAVAILABLE: Final = 503
_PRINTED: Final = cypher.ram_and_disk(_RAM, _DISK)
_BEGINNING: Final = _PRINTED.rpartition("RETURN")[0]
_NAMES: Final = f"{_BEGINNING}RETURN cnode.name, cnode.uuid, disk.name, disk.uuid, ram.name, ram.uuid"
# As much as the service's answer has: where each amount comes from, and all that is in the trees that are used.
_ALL: Final = f"""\
{_BEGINNING}WITH cnode, collect([nodes(p)[-2].uuid, cnode.uuid]) AS requests
MATCH (cnode)-[:CONTAINS*0..]->(provider)-[:PROVIDES]->(resource)
WITH cnode, requests, provider, collect([labels(resource)[0], resource.total, resource.used]) AS inventories
RETURN cnode.uuid AS root, requests, collect([provider.uuid, provider.name, inventories]) AS summaries"""
_QUERIES: Final[Mapping[Ask, str]] = {
    Ask.PATHS: _PRINTED,
    Ask.NAMES: _NAMES,
    Ask.LIMIT: f"{_NAMES}\nLIMIT {_LIMIT}",
    Ask.ALL: _ALL,
}
_TARGET: Final = f"/allocation_candidates?resources=MEMORY_MB:{_RAM + 1},DISK_GB:{_DISK + 1}"
_WIPE: Final = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"


@dataclass(slots=True)
class Posts:
    """One run of these rows."""

    rows: Sequence[PostsRow]
    scale: float
    folder: Path
    profiler: str
    output: Path
    say: Say
    report: Report

    def run(self) -> None:
        """Measure all rows."""
        with self._noting(self.rows, (Where.CYPHER, Where.NEO4J)), _neo4j(self.folder) as server:
            self.say("plain Cypher on Neo4j")
            self._measure_cypher(server)
            self._measure_service(Where.NEO4J, lambda: self._on_neo4j(server))
        self._measure_service(Where.MEMORY, lambda: serving(self.folder / "memory", "memory://"))
        etcd = Ours(self.folder)
        self._measure_service(Where.ETCD, etcd.fresh)

    def _measure_cypher(self, server: Neo4jServer) -> None:
        with _driver(server) as driver:
            for size, rows in self._by_size(Where.CYPHER):
                with self._noting(rows, (Where.CYPHER,)):
                    topology = topologies.nested(size)
                    self.say(f"Cypher: creating {topology.graph_nodes:,} nodes")
                    created = _least([_create(driver, topology) for _ in range(_creations(rows))])
                    count = _right(topology)
                    for row in rows:
                        if row.ask is Ask.CREATE:
                            figure = created
                        else:
                            figure = self._timed(partial(_ask_cypher, driver, row.ask, count))
                        self.report(row, Where.CYPHER, figure)
            _wipe(driver)

    def _measure_service(self, where: Where, fresh: Callable[[], Any]) -> None:
        for size, rows in self._by_size(where):
            with self._noting(rows, (where,)):
                topology = topologies.nested(size)
                loads = []
                for _ in range(_creations(rows) - 1):
                    with fresh() as service:
                        loads.append(self._create(where, service, topology))
                with fresh() as service:
                    loads.append(self._create(where, service, topology))
                    self._measure_loaded(where, service, rows, topology, _least(loads))

    def _create(self, where: Where, service: Service, topology: topologies.Topology) -> float:
        """Load the topology; return the seconds that it took."""
        _warm(service)
        self.say(f"{where}: loading {len(topology.holders):,} trees")
        with self._profiled(service, f"{where}-create-{len(topology.holders)}"):
            return _load(service, topology)

    def _measure_loaded(
        self, where: Where, service: Service, rows: Sequence[PostsRow], topology: topologies.Topology, created: Figure
    ) -> None:
        count = _right(topology)
        for row in rows:
            if row.ask is Ask.CREATE:
                self.report(row, where, created)
                continue
            with self._profiled(service, f"{where}-{row.key}"):
                limit = _LIMIT if row.ask is Ask.LIMIT else None
                with _searching(service, count, limit) as ask:
                    self.report(row, where, self._timed(ask))

    def _timed(self, ask: Callable[[], float]) -> Figure:
        """Ask several times, once both sides are warm; the figure is the least, in milliseconds.

        A Java machine interprets what it has not often run: what is new to it is ten times as slow. Where nobody is to
        look at the figures, as the scale says, nothing has to be warm.
        """
        until = time.monotonic() + _WARM_UP_S
        for _ in range(ceil(_WARM_UP_MOST * min(self.scale, 1.0))):
            ask()
            if time.monotonic() > until:
                break
        samples = sorted(ask() * 1000 for _ in range(_REPEATS))
        return Figure((samples[0],), details={"median": samples[len(samples) // 2], "most": samples[-1]})

    @contextmanager
    def _on_neo4j(self, server: Neo4jServer) -> Iterator[Service]:
        with _driver(server) as driver:
            _wipe(driver)
        with serving(self.folder / "service-neo4j", server.url) as service:
            yield service

    def _by_size(self, where: Where) -> Iterator[tuple[int, Sequence[PostsRow]]]:
        """Yield the sizes, small ones first, with the rows that are measured there."""
        rows = [row for row in self.rows if where in row.where]
        for size in sorted({row.sized(self.scale) for row in rows}):
            yield size, [row for row in rows if row.sized(self.scale) == size]

    def _profiled(self, service: Service, name: str) -> ExitStack:
        around = ExitStack()
        if self.profiler:
            path = self.output / f"{name}.svg"
            around.enter_context(profiled(self.profiler, service.server.pid, path))
        return around

    @contextmanager
    def _noting(self, rows: Sequence[PostsRow], wheres: Sequence[Where]) -> Iterator[None]:
        """Note a failure of what was to be measured; the rest goes on."""
        try:
            yield
        except (BenchError, AssertionError, Neo4jError, DriverError, OSError) as error:
            for row in rows:
                for where in wheres:
                    if where in row.where:
                        self.report(row, where, " ".join(str(error).split()) or type(error).__name__)


def _right(topology: topologies.Topology) -> int:
    return len(walk.ram_and_disk(topology, _RAM, _DISK, directed=True))


def _creations(rows: Sequence[PostsRow]) -> int:
    """Return how often to create: several times where that is measured."""
    return _REPEATED_CREATIONS if any(row.ask is Ask.CREATE for row in rows) else 1


def _least(seconds: Sequence[float]) -> Figure:
    return Figure((min(seconds),), details={"first": seconds[0], "most": max(seconds)})


# Cypher


@contextmanager
def _neo4j(folder: Path) -> Iterator[Neo4jServer]:
    # Not as for tests, which spare a server what pays only in the long run: as users have it.
    settings = {
        "server.memory.heap.initial_size": _HEAP,
        "server.memory.heap.max_size": _HEAP,
        "server.memory.pagecache.size": "512m",
        "dbms.cypher.min_replan_interval": "10s",
    }
    server = Neo4jServer(folder / "neo4j", settings=settings, jvm=())
    command, environment = server.prepare()
    with Server("neo4j", command, folder / "neo4j", environment=environment) as process:
        process.await_ready(lambda: _answers(server), timeout_s=180.0)
        yield server


def _driver(server: Neo4jServer) -> Driver:
    address = f"bolt://127.0.0.1:{server.port}"
    return GraphDatabase.driver(address, auth=("neo4j", server.password), notifications_min_severity="OFF")


def _answers(server: Neo4jServer) -> bool:
    try:
        # Not by `execute_query`, which would try for half a minute by itself.
        with _driver(server) as driver, driver.session() as session:
            session.run("RETURN 1").consume()
    except (Neo4jError, DriverError):
        return False
    return True


def _wipe(driver: Driver) -> None:
    with driver.session() as session:
        session.run(_WIPE).consume()


def _create(driver: Driver, topology: topologies.Topology) -> float:
    """Create the posts' graph in an empty database; return the seconds that it took."""
    _wipe(driver)
    began = time.monotonic()
    for statement, parameters in cypher.creation(topology):
        driver.execute_query(statement, parameters_=dict(parameters))
    return time.monotonic() - began


def _ask_cypher(driver: Driver, ask: Ask, count: int) -> float:
    """Run a query and return the seconds until all rows are there."""
    with driver.session() as session:
        began = time.monotonic()
        rows = list(session.run(_QUERIES[ask]))
        took_s = time.monotonic() - began
    found = sum(len(row["requests"]) for row in rows) if ask is Ask.ALL else len(rows)
    if found != (min(count, _LIMIT) if ask is Ask.LIMIT else count):
        raise BenchError(f"Neo4j found {found:,} records where {count:,} are right")
    return took_s


# The service


def _warm(service: Service) -> None:
    """Declare a tree and remove it: a Neo4j that has just been started plans each statement for seconds."""
    root = topologies.uuid_of("warm")
    tree = {"uuid": root, "name": "warm", "inventories": {"VCPU": {"total": 1}}}
    connection = Connection(service.address)
    until = time.monotonic() + _WARM_MOST_S
    try:
        for request in (prepare("PUT", f"/graph/trees/{root}", tree), prepare("DELETE", f"/graph/trees/{root}")):
            while (answer := connection.exchange(request)).status == _UNAVAILABLE and time.monotonic() < until:
                time.sleep(_WARM_PAUSE_S)
            answer.check(request)
    finally:
        connection.close()


def _load(service: Service, topology: topologies.Topology) -> float:
    lines = b"".join(_line(tree) for tree in providers.trees(topology))
    request = prepare("POST", "/graph/trees", lines=lines)
    connection = Connection(service.address)
    try:
        began = time.monotonic()
        answer = connection.exchange(request)
        took_s = time.monotonic() - began
    finally:
        connection.close()
    answer.check(request)
    summary = json.loads(answer.body().splitlines()[-1])["summary"]
    if summary["created"] != len(topology.holders):
        raise BenchError(f"of {len(topology.holders)} trees not all were created: {summary}")
    return took_s


def _line(tree: Tree) -> bytes:
    documents: dict[str, dict[str, Any]] = {}
    for each in tree.providers:
        documents[each.uuid] = _document(each)
        if each.parent_uuid is not None:
            documents[each.parent_uuid].setdefault("children", []).append(documents[each.uuid])
    return json.dumps(documents[tree.root_uuid]).encode() + b"\n"


def _document(provider: DeclaredProvider) -> dict[str, Any]:
    inventories = {
        name: {"total": each.total, "reserved": each.reserved} for name, each in provider.inventories.items()
    }
    return {"uuid": provider.uuid, "name": provider.name, "inventories": inventories}


@contextmanager
def _searching(service: Service, count: int, limit: int | None) -> Iterator[Callable[[], float]]:
    """Give what searches and returns the seconds that it took; the first answer is looked at."""
    request = prepare("GET", _TARGET if limit is None else f"{_TARGET}&limit={limit}")
    right = count if limit is None else min(count, limit)
    connection = Connection(service.address)
    try:
        answer = connection.exchange(request)
        answer.check(request)
        found = len(answer.document()["allocation_requests"])
        if found != right:
            raise BenchError(f"the service found {found:,} candidates where {right:,} are right")

        def ask() -> float:
            began = time.monotonic()
            answer = connection.exchange(request)
            took_s = time.monotonic() - began
            answer.check(request)
            return took_s

        yield ask
    finally:
        connection.close()
