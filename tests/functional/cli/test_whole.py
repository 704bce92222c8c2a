"""Everything at once, every part real: command line, etcd, scheduler, placement, agent, libvirt, a guest that boots."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdcompute.model import keys
from tests.functional.agent.guests import write_guest
from tests.functional.agent.host import ComputeHost
from tests.functional.agent.libvirt_server import LibvirtServer
from tests.functional.scheduler.cloud import Cloud
from tests.functional.waiting import eventually


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtServer]:
    """A libvirtd of our own."""
    with LibvirtServer(tmp_path_factory.mktemp("libvirt")) as server:
        yield server


@pytest.fixture
def host(cloud: Cloud, libvirtd: LibvirtServer, tmp_path: Path) -> Iterator[ComputeHost]:
    """A host with its agent, in the cloud of the test."""
    directory = tmp_path / "host"
    directory.mkdir()
    with ComputeHost(directory, cloud.etcd, cloud.placement_url, libvirtd) as made:
        made.start_agent()
        made.wait_registered()
        yield made


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    """What a create needs."""
    image = write_guest(tmp_path / "guest.img")
    return (
        *("--image", image.url, "--sha256", image.sha256, "--image-format", "raw"),
        *("--vcpus", "1", "--memory", "32", "--disk", "1", "--timeout", "60"),
    )


def rows(cloud: Cloud, noun: str) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(cloud.run(noun, "list", "--format", "json").stdout)
    return listed


def test_create_stop_start_and_delete(cloud: Cloud, host: ComputeHost, options: tuple[str, ...]) -> None:
    cloud.start_scheduler()
    ended = cloud.run("instance", "create", "web-1", *options)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "web-1: running on host1"
    ended = cloud.run("instance", "stop", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    assert [row["state"] for row in rows(cloud, "instance")] == ["stopped"]
    ended = cloud.run("instance", "start", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    (shown,) = rows(cloud, "host")
    assert (shown["name"], shown["state"], shown["instances"]) == ("host1", "up", 1)
    ended = cloud.run("instance", "delete", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    assert rows(cloud, "instance") == []
    (shown,) = rows(cloud, "host")
    resources = shown["resources"]
    assert isinstance(resources, dict)
    assert {name: use["used"] for name, use in resources.items()} == {"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}


@pytest.mark.parametrize("point", ["pending_written", "claimed", "assigned"])
def test_a_scheduler_that_dies_in_a_create_is_not_noticed(
    cloud: Cloud, host: ComputeHost, options: tuple[str, ...], point: str
) -> None:
    cloud.arm(f"scheduler.{point}", "kill")
    first = cloud.start_scheduler()
    created = cloud.run("instance", "create", "web-1", *options, "--no-wait").stdout.strip()
    assert first.wait() == -signal.SIGKILL
    cloud.start_scheduler(wait=False)
    ended = cloud.run("instance", "start", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    assert set(cloud.placement.get_allocations(created).allocations) == {host.uuid}
    assert len(cloud.placement.get_provider_allocations(host.uuid).allocations) == 1
    ended = cloud.run("instance", "delete", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    assert cloud.placement.get_provider_allocations(host.uuid).allocations == {}


def test_a_scheduler_that_dies_in_a_delete_is_not_noticed(
    cloud: Cloud, host: ComputeHost, options: tuple[str, ...]
) -> None:
    first = cloud.start_scheduler()
    ended = cloud.run("instance", "create", "web-1", *options)
    assert ended.returncode == 0, ended.stderr
    cloud.arm("scheduler.relayed", "kill")
    cloud.run("instance", "delete", "web-1", "--no-wait")
    assert first.wait() == -signal.SIGKILL
    cloud.start_scheduler(wait=False)
    eventually(lambda: not cloud.store.read_prefix(keys.INSTANCES).items, "the instance is gone", 60)
    assert cloud.store.read_prefix(keys.INSTANCE_STATUSES).items == ()
    assert cloud.store.read_prefix(keys.INSTANCE_NAMES).items == ()
    assert cloud.placement.get_provider_allocations(host.uuid).allocations == {}


def test_an_impossible_size_is_said_while_waiting_and_leaves_nothing(
    cloud: Cloud, host: ComputeHost, options: tuple[str, ...]
) -> None:
    cloud.start_scheduler()
    # Later options win.
    ended = cloud.run("instance", "create", "huge", *options, "--vcpus", "100000", "--timeout", "10")
    assert ended.returncode == 7
    assert "VCPU 100000 wanted, the largest free is" in ended.stderr
    assert "(host1)" in ended.stderr
    ended = cloud.run("instance", "delete", "huge", "--timeout", "30")
    assert ended.returncode == 0, ended.stderr
    assert cloud.placement.get_provider_allocations(host.uuid).allocations == {}


def test_a_wrong_sum_is_the_sentence_that_the_wait_ends_with(
    cloud: Cloud, host: ComputeHost, options: tuple[str, ...]
) -> None:
    cloud.start_scheduler()
    ended = cloud.run("instance", "create", "web-1", *options, "--sha256", "0" * 64)
    assert ended.returncode == 1, ended.stderr
    assert "sha256" in ended.stderr.splitlines()[-1].lower()
    ended = cloud.run("instance", "delete", "web-1", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
