"""The instance that the inventory declares: a real guest, reachable under its own name."""

import pytest

from etcdcompute import operations
from etcdcompute.model import Phase
from etcdcompute.operations import InstanceRow
from tests.lab.cloud import Cloud, wait_for

NAME = "vm1"


@pytest.fixture
def declared(cloud: Cloud) -> InstanceRow:
    return operations.find_instance(cloud.kv, NAME)


def test_it_runs_on_one_host_with_one_allocation(cloud: Cloud, declared: InstanceRow) -> None:
    assert declared.status is not None
    assert declared.status.phase is Phase.RUNNING
    cloud.expect_consistent()
    assert [name for name, uuids in cloud.domains().items() if declared.key in uuids] == [declared.status.host]
    assert declared.instance is not None
    held = cloud.placement.get_allocations(declared.key)
    assert held.allocations == {declared.status.host_uuid: declared.instance.resources}
    assert held.consumer_type == "INSTANCE"


def test_it_answers_on_its_address_with_its_own_name(cloud: Cloud, declared: InstanceRow) -> None:
    assert declared.status is not None
    assert declared.status.addresses
    node = cloud.nodes[declared.status.host]
    address = declared.status.addresses[0].ip

    def answer() -> str:
        return node.run_in_guest(address, "hostname; cat /proc/uptime").stdout

    assert wait_for("the guest to answer on SSH", answer, 300).split()[0] == NAME


def test_it_has_the_resources_that_were_asked_for(cloud: Cloud, declared: InstanceRow) -> None:
    assert declared.status is not None
    assert declared.instance is not None
    wanted = declared.instance.resources
    node = cloud.nodes[declared.status.host]
    command = "nproc; cat /sys/block/vda/size; sed -n 's/^MemTotal: *//p' /proc/meminfo"

    def answer() -> str:
        return node.run_in_guest(declared.status.addresses[0].ip if declared.status else "", command).stdout

    cpus, sectors, memory = wait_for("the guest to answer on SSH", answer, 300).splitlines()
    assert int(cpus) == wanted["VCPU"]
    assert int(sectors) * 512 == wanted["DISK_GB"] * 2**30
    assert 0.6 * wanted["MEMORY_MB"] < int(memory.split()[0]) / 1024 <= wanted["MEMORY_MB"]


def test_its_console_is_logged(cloud: Cloud, declared: InstanceRow) -> None:
    assert declared.status is not None
    log = cloud.nodes[declared.status.host].run(f"cat /var/lib/etcdcompute/instances/{declared.key}/console.log")
    assert f"etcdcompute-guest: {NAME} ready" in log
