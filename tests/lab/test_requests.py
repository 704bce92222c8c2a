"""What users ask for, well and badly."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from etcdcompute import operations
from etcdcompute.errors import AlreadyExists
from etcdcompute.kv.records import Compare, Write
from etcdcompute.model import Phase, PowerState, keys
from etcdcompute.operations import InstanceFailed
from tests.lab.cloud import Cloud, wait_for
from tests.lab.instances import Instances


def test_creates_at_once_are_all_carried_out(cloud: Cloud, instances: Instances) -> None:
    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(lambda _: instances.create(), range(4)))
    for instance in created:
        instances.await_settled(instance)
    assert {instance.uuid for instance in created} <= cloud.running_domains()
    assert len({instances.node(instance).name for instance in created}) > 1


def test_stop_and_start(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create_running()
    instances.await_settled(instances.set_power_state(instance, PowerState.STOPPED))
    assert instance.uuid not in cloud.running_domains()
    instances.await_settled(instances.set_power_state(instance, PowerState.RUNNING))
    assert instance.uuid in cloud.running_domains()


def test_one_name_serves_one_instance(cloud: Cloud, instances: Instances) -> None:
    instance = instances.create()
    with pytest.raises(AlreadyExists, match=instance.uuid):
        instances.create(name=instance.name)


def test_deleting_what_is_not_there_succeeds(cloud: Cloud) -> None:
    assert operations.delete_instance(cloud.kv, "never-was") is None


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"url": "/srv/images/absent.qcow2", "sha256": "0" * 64}, "/srv/images/absent.qcow2"),
        ({"url": "http://127.0.0.1:9/absent.qcow2", "sha256": "0" * 64}, "http://127.0.0.1:9/absent.qcow2"),
        ({"sha256": "0" * 64}, "0" * 64),
    ],
)
def test_an_image_that_cannot_be_had(cloud: Cloud, instances: Instances, image: dict[str, str], words: str) -> None:
    instance = instances.create(image=instances.image | image)
    with pytest.raises(InstanceFailed, match=words):
        instances.await_settled(instance)
    assert all(instance.uuid not in uuids for uuids in cloud.domains().values())
    instances.delete(instance)
    instances.await_gone(instance)
    cloud.expect_consistent()


def test_an_impossible_size_waits_with_a_reason_and_is_placed_when_it_fits(cloud: Cloud, instances: Instances) -> None:
    free = min(
        inventory.total - inventory.reserved
        for uuid in cloud.host_uuids().values()
        for name, inventory in cloud.placement.get_inventories(uuid).inventories.items()
        if name == "MEMORY_MB"
    )
    impossible = instances.create(resources={"VCPU": 1, "MEMORY_MB": free * 100, "DISK_GB": 1})
    message = instances.await_status(impossible, Phase.PENDING, "no_host").message
    assert f"MEMORY_MB:{free * 100}" in message
    assert "largest free" in message


def test_a_pending_instance_is_placed_when_another_goes(cloud: Cloud, instances: Instances) -> None:
    # As many VCPUs as one instance can have: the hosts are full after one each.
    sizes = cloud.placement.get_inventories(next(iter(cloud.host_uuids().values()))).inventories["DISK_GB"]
    size = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": int((sizes.total - sizes.reserved) * 0.7)}
    filling = [instances.create_running(resources=size, power_state="stopped") for _ in cloud.computes]
    waiting = instances.create(resources=size, power_state="stopped")
    instances.await_status(waiting, Phase.PENDING, "no_host")
    instances.delete(filling[0])
    instances.await_settled(waiting)


@pytest.mark.parametrize("value", [b"\xff rubbish", b'{"schema": 1, "colour": "red"}', b'{"schema": 99}'])
def test_a_document_that_does_not_parse_is_reported_and_harms_nobody(
    cloud: Cloud, instances: Instances, value: bytes
) -> None:
    instance = instances.create_running()
    item = cloud.kv.get(keys.instance(instance.uuid))
    assert item is not None
    cloud.kv.commit([Compare.unchanged(item)], [Write(item.key, value)])
    status = instances.await_status(instance, Phase.ERROR, "invalid_document")
    assert "instance: " in status.message
    instances.create_running()
    assert instance.uuid in cloud.running_domains()
    instances.delete(instance)
    instances.await_gone(instance)
    wait_for("the broken one's domain to go", lambda: instance.uuid not in cloud.running_domains())


def test_an_instance_on_a_bridge_of_the_host_reports_its_address(cloud: Cloud, instances: Instances) -> None:
    # The network's own bridge serves: to the instance it is a bridge that exists, with a DHCP server behind it.
    instance = instances.create_running(networks=[{"bridge": "virbr0"}], ssh_keys=[cloud.public_key])
    address = instances.await_address(instance)
    node = instances.node(instance)

    def answers() -> bool:
        return node.run_in_guest(address, "hostname").stdout.strip() == instance.name

    wait_for("the guest to answer under its own name", answers, 300)
