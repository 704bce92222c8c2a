"""Fixtures that all functional tests share: a real etcd."""

from collections.abc import Iterator

import pytest

from tests.functional.etcd_server import EtcdServer


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
