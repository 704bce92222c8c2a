"""The life of instances on a real host: created, stopped, started, deleted, two at once, in error."""

import hashlib
import subprocess
import uuid
from pathlib import Path

import msgspec
import pytest

from etcdcompute.kv.records import Write
from etcdcompute.model import Host, ImageSource, NetworkAttachment, PowerState, keys
from tests.functional.agent.guests import GREETING, write_guest
from tests.functional.agent.host import ComputeHost, wait_until


def test_an_instance_runs_and_goes(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image, name="web1")
    status = host.wait_status(instance.uuid, "running")
    assert (status.host, status.host_uuid, status.message) == ("host1", host.uuid, "")
    host.assert_runs_once(instance)
    wait_until(lambda: GREETING in host.console(instance), "the guest greets on its console")
    assert instance.uuid in host.domains()

    host.delete(instance)
    host.wait_gone(instance)
    assert host.stop_agent() == 0


def test_the_power_state_is_brought_about(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    wait_until(lambda: GREETING in host.console(instance), "the guest is up")

    stopped = host.power(instance, PowerState.STOPPED)
    host.wait_status(instance.uuid, "stopped", generation=2)
    assert host.domains() == {instance.uuid: False}

    host.power(stopped, PowerState.RUNNING)
    host.wait_status(instance.uuid, "running", generation=3)
    host.assert_runs_once(instance)


def test_a_network_is_started_for_whom_needs_it(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image, networks=(NetworkAttachment(network="default"),))
    assert host.wait_status(instance.uuid, "running").addresses == ()


def test_two_instances_at_once(host: ComputeHost, image: ImageSource) -> None:
    both = [host.create(image), host.create(image)]
    for instance in both:
        host.wait_status(instance.uuid, "running")
        host.assert_runs_once(instance)


def test_what_was_asked_while_the_agent_was_down_is_done(host: ComputeHost, image: ImageSource) -> None:
    running = host.create(image)
    host.wait_status(running.uuid, "running")
    host.kill_agent()
    host.delete(running)
    instance = host.create(image)
    host.start_agent()
    host.wait_status(instance.uuid, "running")
    host.wait_gone(running)


def test_a_guest_that_goes_off_is_started_again(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    wait_until(lambda: GREETING in host.console(instance), "the guest is up")
    host.hypervisor_call(instance, "shutdown")
    wait_until(lambda: host.console(instance).count(GREETING) == 2, "the guest is up again")
    host.assert_runs_once(instance)


def test_a_wrong_sum_is_told_and_can_be_deleted(host: ComputeHost, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(write_guest(tmp_path / "wrong.img"), sha256="0" * 64)
    right = hashlib.sha256((tmp_path / "wrong.img").read_bytes()).hexdigest()
    instance = host.create(wrong)
    status = host.wait_status(instance.uuid, "error", code="image_sum_wrong")
    assert right in status.message
    assert "0" * 64 in status.message
    assert list((host.state / "images").iterdir()) == []
    assert not (host.state / "instances" / instance.uuid).exists()
    host.delete(instance)
    host.wait_gone(instance)


def test_an_image_that_is_not_there_is_tried_again(host: ComputeHost, tmp_path: Path) -> None:
    path = tmp_path / "late.img"
    image = write_guest(path)
    content = path.read_bytes()
    path.unlink()
    instance = host.create(image)
    assert "No such file" in host.wait_status(instance.uuid, "error", code="image_not_fetched").message
    path.write_bytes(content)
    host.wait_status(instance.uuid, "running")


def test_an_image_larger_than_the_disk_is_an_error(host: ComputeHost, tmp_path: Path) -> None:
    path = tmp_path / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "3G"], check=True)
    image = ImageSource(url=f"file://{path}", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    instance = host.create(image)
    status = host.wait_status(instance.uuid, "error", code="disk_too_small")
    assert "3.00 GiB" in status.message
    assert "at least 3" in status.message


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (NetworkAttachment(network="absent"), "there is no libvirt network 'absent'"),
        (NetworkAttachment(bridge="br-absent"), "there is no bridge 'br-absent'"),
    ],
)
def test_a_missing_network_leaves_nothing_behind(
    host: ComputeHost, image: ImageSource, network: NetworkAttachment, said: str
) -> None:
    instance = host.create(image, networks=(network,))
    assert said in host.wait_status(instance.uuid, "error", code="network_not_found").message
    assert instance.uuid not in host.domains()
    assert not (host.state / "instances" / instance.uuid).exists()


def test_a_document_that_does_not_parse_is_told_and_nobody_dies(host: ComputeHost, image: ImageSource) -> None:
    instance = host.create(image)
    host.wait_status(instance.uuid, "running")
    host.store.commit([], [Write(keys.instance(instance.uuid), b'{"schema":1,"nonsense":true}')])
    host.assign(instance, 2)
    host.wait_status(instance.uuid, "error", generation=2, code="invalid_document")
    # The guest is left alone, and others are served.
    assert host.domains()[instance.uuid] is True
    host.wait_status(host.create(image).uuid, "running")


def test_a_cordoned_host_keeps_new_instances_away(host: ComputeHost) -> None:
    item = host.store.get(keys.host(host.uuid))
    assert item is not None
    document = Host.from_json(item.value)
    wait_until(
        lambda: "COMPUTE_STATUS_DISABLED" not in host.placement.get_traits(host.uuid).traits, "the host is enabled"
    )
    assert "CUSTOM_VIRT_TYPE_QEMU" in host.placement.get_traits(host.uuid).traits
    assert set(host.placement.get_inventories(host.uuid).inventories) == {"VCPU", "MEMORY_MB", "DISK_GB"}

    cordoned = msgspec.structs.replace(document, cordoned=True)
    host.store.commit([], [Write(keys.host(host.uuid), cordoned.to_json())])
    wait_until(lambda: "COMPUTE_STATUS_DISABLED" in host.placement.get_traits(host.uuid).traits, "the host is disabled")


def test_a_host_stays_where_an_operator_put_it_in_the_tree(host: ComputeHost, image: ImageSource) -> None:
    rack = host.placement.ensure_resource_provider(str(uuid.uuid4()), "rack1")
    host.placement.ensure_resource_provider(host.uuid, "host1-moved", rack.uuid)
    wait_until(lambda: host.placement.get_resource_provider(host.uuid).name == "host1", "the agent has its name back")
    assert host.placement.get_resource_provider(host.uuid).parent_uuid == rack.uuid
    host.wait_status(host.create(image).uuid, "running")
