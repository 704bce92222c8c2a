"""The lab that these tests run on: LAB_NAME says which (`lab` unless set; molecule sets `molecule`)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cloud import PROJECT, Cloud, lab_name, patience
from tests.lab.instances import Instances


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real guests on emulated processors take their time: only what hangs is cut off."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 * patience()))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    # Not below the temporary directory of pytest: a socket's path must be short.
    control = tmp_path_factory.mktemp("ssh")
    cloud = Cloud(lab_name(), control)
    yield cloud
    cloud.close()


@pytest.fixture(scope="session")
def guest_image() -> dict[str, str]:
    """The project's guest image as the nodes see it."""
    image = PROJECT / ".cache" / "guest" / "etcdcompute-guest.qcow2"
    return {"url": f"/srv/images/{image.name}", "sha256": hashlib.sha256(Path(image).read_bytes()).hexdigest()}


@pytest.fixture
def instances(cloud: Cloud, guest_image: dict[str, str]) -> Iterator[Instances]:
    """Make instances; when the test is over they are deleted, and nothing may contradict anything."""
    made = Instances(cloud, guest_image)
    yield made
    made.delete_all()
    cloud.expect_consistent()
