"""Fixtures that all functional tests share: a real etcd, and a real Neo4j."""

from collections.abc import Iterator

import pytest

from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer


@pytest.fixture(scope="module")
def etcd_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One etcd for all tests of a module; use `etcd` unless the keys of earlier tests are wanted."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def etcd(etcd_of_module: EtcdServer) -> EtcdServer:
    """An empty etcd that answers. A test may stop, kill or freeze it: the next one finds it started again."""
    if not etcd_of_module.running:
        etcd_of_module.start()
    etcd_of_module.thaw()
    etcd_of_module.wait_healthy()
    etcd_of_module.wipe()
    return etcd_of_module


@pytest.fixture(scope="session")
def neo4j_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """One Neo4j for all tests, since it takes long to start; use `neo4j`."""
    with Neo4jServer(tmp_path_factory.mktemp("neo4j")) as server:
        yield server


@pytest.fixture
def neo4j(neo4j_of_session: Neo4jServer) -> Neo4jServer:
    """A Neo4j that answers, with an empty graph. A test may stop, kill or freeze it."""
    server = neo4j_of_session
    server.thaw()
    if not server.running:
        server.start()
    server.wait_healthy()
    server.empty()
    return server
