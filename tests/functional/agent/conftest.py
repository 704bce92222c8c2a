"""One libvirtd and one placement for a module; an agent's host for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdcompute.model import ImageSource
from tests.functional.agent.guests import write_guest
from tests.functional.agent.host import ComputeHost
from tests.functional.agent.libvirt_server import LibvirtServer
from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.server import PlacementThread


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtServer]:
    """A libvirtd of our own."""
    with LibvirtServer(tmp_path_factory.mktemp("libvirt")) as server:
        yield server


@pytest.fixture
def host(etcd: EtcdServer, libvirtd: LibvirtServer, tmp_path: Path) -> Iterator[ComputeHost]:
    """A host whose agent has registered."""
    with (
        PlacementThread(f"etcd://127.0.0.1:{etcd.port}") as placement,
        ComputeHost(tmp_path, etcd, placement.url, libvirtd) as made,
    ):
        made.start_agent()
        made.wait_registered()
        yield made


@pytest.fixture
def image(tmp_path: Path) -> ImageSource:
    """The small guest."""
    return write_guest(tmp_path / "guest.img")
