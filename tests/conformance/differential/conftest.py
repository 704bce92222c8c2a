"""Both services, once for all tests, and the figures in the end."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

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
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    with ExitStack() as stack:
        ours = Ours(_neo4j(stack, tmp_path_factory) if os.environ.get("GRAPH") == "neo4j" else None)
        stack.callback(ours.close)
        yield ours


def _neo4j(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], GraphStore]:
    """Return what empties the graph and opens a store on it."""
    server = stack.enter_context(Neo4jServer(tmp_path_factory.mktemp("neo4j")))

    def store() -> GraphStore:
        server.empty()
        return Neo4jStore(Address.parse(server.url), request_timeout_s=60.0)

    return store


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, ours: Ours, openstack: OpenStack) -> Iterator[Pair]:
    pair = Pair(ours, openstack)
    yield pair
    pair.close()
    _TALLIES.append((request.node.name, pair.tally))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, tally in _TALLIES:
        terminalreporter.write_line(f"{name}: {tally}")
