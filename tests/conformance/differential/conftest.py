"""Both services, once for all tests, and the figures in the end."""

import os
from collections.abc import Iterator

import pytest

from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.store import Neo4jStore
from etcdcompute.placement.graph.store import GraphStore
from tests.conformance.differential.openstack import OpenStack
from tests.conformance.differential.ours import Ours
from tests.conformance.differential.settling import Pair, Tally
from tests.functional.neo4j_server import Neo4jServer

_TALLIES: list[tuple[str, Tally]] = []


@pytest.fixture(scope="session")
def openstack() -> OpenStack:
    return OpenStack()


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    with Neo4jServer(tmp_path_factory.mktemp("neo4j")) as server:
        yield server


@pytest.fixture(scope="session")
def on_neo4j(neo4j_server: Neo4jServer) -> Iterator[Ours]:
    def store() -> GraphStore:
        neo4j_server.empty()
        return Neo4jStore(Address.parse(neo4j_server.url), request_timeout_s=60.0)

    ours = Ours(store)
    yield ours
    ours.close()


@pytest.fixture(scope="session")
def ours(request: pytest.FixtureRequest) -> Iterator[Ours]:
    """Ours, on the graph that GRAPH names; memory stands for etcd, which differs in nothing that is compared here."""
    if os.environ.get("GRAPH") == "neo4j":
        yield request.getfixturevalue("on_neo4j")
        return
    ours = Ours()
    yield ours
    ours.close()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, ours: Ours, openstack: OpenStack) -> Iterator[Pair]:
    pair = Pair(ours, openstack)
    yield pair
    pair.close()
    _TALLIES.append((request.node.name, pair.tally))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, tally in _TALLIES:
        terminalreporter.write_line(f"{name}: {tally}")
