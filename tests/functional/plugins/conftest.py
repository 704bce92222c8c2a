"""Fixtures for the modules: real playbooks against a real etcd; the test itself plays scheduler and agent."""

from pathlib import Path

import pytest

from tests.functional.etcd_server import EtcdServer
from tests.functional.plugins.playbook import Playbooks
from tests.functional.plugins.store import Store


@pytest.fixture
def playbooks(tmp_path: Path, etcd: EtcdServer) -> Playbooks:
    """Run playbooks whose modules find the test's etcd by their environment."""
    return Playbooks(tmp_path, {"ETCDCOMPUTE_ETCD_ENDPOINTS": etcd.endpoint})


@pytest.fixture
def store(etcd: EtcdServer) -> Store:
    """What scheduler and agent write, and what clients wrote."""
    return Store(etcd)
