"""Two services over one etcd, each in a process of its own; and one in a thread over either kind of graph."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from etcdcompute.placement.client import PlacementClient
from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.server import PlacementProcess, PlacementThread


def graph_of(etcd: EtcdServer) -> str:
    return f"etcd://127.0.0.1:{etcd.port}"


@pytest.fixture
def pair(etcd: EtcdServer, tmp_path: Path) -> Iterator[tuple[PlacementProcess, PlacementProcess]]:
    """Two processes over one etcd."""
    with ExitStack() as stack:
        one = stack.enter_context(PlacementProcess(graph_of(etcd), tmp_path / "one.log"))
        two = stack.enter_context(PlacementProcess(graph_of(etcd), tmp_path / "two.log"))
        yield one, two


@pytest.fixture(params=["memory", "etcd"])
def service(request: pytest.FixtureRequest) -> Iterator[PlacementThread]:
    """A service over memory, and one over etcd: nothing may differ."""
    graph = "memory://" if request.param == "memory" else graph_of(request.getfixturevalue("etcd"))
    with PlacementThread(graph) as running:
        yield running


@pytest.fixture
def client(service: PlacementThread) -> Iterator[PlacementClient]:
    """A client of `service`."""
    client = PlacementClient([service.url])
    yield client
    client.close()
