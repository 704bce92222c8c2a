"""A control plane for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.etcd_server import EtcdServer
from tests.functional.scheduler.cloud import Cloud


@pytest.fixture
def cloud(etcd: EtcdServer, tmp_path: Path) -> Iterator[Cloud]:
    """Etcd and placement run; schedulers are the test's to start."""
    with Cloud(etcd, tmp_path) as made:
        made.start_placement()
        yield made
