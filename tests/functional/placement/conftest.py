"""Two services over one etcd, each in a process of its own; and one in a thread over each kind of graph."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from etcdcompute.placement.client import PlacementClient
from etcdcompute.placement.serve import open_store
from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.server import PlacementProcess, PlacementThread
from tests.functional.waiting import eventually


def graph_of(etcd: EtcdServer) -> str:
    return f"etcd://127.0.0.1:{etcd.port}"


def prepare(graph: str) -> None:
    """Wait until a database has placement's schema: on a machine with much else to do that takes its time."""
    store = open_store(graph)
    store.start()
    try:
        eventually(lambda: set(store.check_health().values()) == {"ok"}, "a prepared database", 240)
    finally:
        store.close()


@pytest.fixture
def pair(etcd: EtcdServer, tmp_path: Path) -> Iterator[tuple[PlacementProcess, PlacementProcess]]:
    """Two processes over one etcd."""
    with ExitStack() as stack:
        one = stack.enter_context(PlacementProcess(graph_of(etcd), tmp_path / "one.log"))
        two = stack.enter_context(PlacementProcess(graph_of(etcd), tmp_path / "two.log"))
        yield one, two


@pytest.fixture(params=["memory", "etcd", "neo4j"])
def service(request: pytest.FixtureRequest) -> Iterator[PlacementThread]:
    """A service over each kind of graph: nothing may differ."""
    if request.param == "memory":
        graph = "memory://"
    elif request.param == "etcd":
        graph = graph_of(request.getfixturevalue("etcd"))
    else:
        server: Neo4jServer = request.getfixturevalue("neo4j")
        graph = server.url
    with PlacementThread(graph) as running:
        running.wait_until_healthy()
        yield running


@pytest.fixture
def client(service: PlacementThread) -> Iterator[PlacementClient]:
    """A client of `service`."""
    client = PlacementClient([service.url])
    yield client
    client.close()
