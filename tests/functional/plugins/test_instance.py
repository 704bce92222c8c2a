"""The module `instance`, from the playbook to etcd and back."""

from typing import Any

import pytest

from etcdcompute.model import Phase, PowerState, keys
from tests.functional.etcd_server import EtcdServer
from tests.functional.plugins.playbook import Playbooks, Running, failed
from tests.functional.plugins.store import HOST, Store

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
SPEC: dict[str, Any] = {
    "name": "vm1",
    "image": {"url": "/srv/images/guest.qcow2", "sha256": "0" * 64},
    "resources": {"vcpus": 1, "memory_mib": 128, "disk_gib": 1},
}


def task(**options: Any) -> dict[str, Any]:
    return {"instance": SPEC | options}


def must_wait(running: Running, store: Store) -> None:
    """Assert that the playbook goes on waiting, although etcd has told it all that was written so far."""
    store.etcd.put("/etcdcompute/v1/elsewhere", "x")
    assert not running.finished


def test_a_new_instance_is_waited_for_until_it_has_an_address(playbooks: Playbooks, store: Store) -> None:
    running = playbooks.start(task(user_data="password: secret", ssh_keys=["ssh-ed25519 AAAA me"]))
    instance = store.await_instance("vm1")
    assert (instance.power_state, instance.user_data) == (PowerState.RUNNING, "password: secret")
    store.report(instance, Phase.PENDING, code="no_host", message="0 of 0 hosts fit")
    store.report(instance, Phase.BUILDING, host=True)
    store.report(instance, Phase.RUNNING, host=True)
    must_wait(running, store)
    store.report(instance, Phase.RUNNING, host=True, address="192.168.122.17")
    result = running.result()
    assert result["changed"] is True
    assert result["instance"]["uuid"] == instance.uuid
    assert result["status"]["addresses"][0]["ip"] == "192.168.122.17"
    assert result["changes"]["power_state"] == {"before": None, "after": "running"}
    assert result["diff"]["before"] == {}
    assert result["diff"]["after"]["resources"] == {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
    shown = {key: value for key, value in result.items() if key != "invocation"}
    assert "secret" not in str(shown)


def test_again_changes_nothing_and_check_mode_never_does(playbooks: Playbooks, store: Store) -> None:
    predicted = playbooks.run(task(), task(state="absent"), check=True)
    assert [each["changed"] for each in predicted] == [True, False]
    assert predicted[0]["instance"]["uuid"] == "00000000-0000-0000-0000-000000000000"
    assert store.count("/") == 0
    instance = store.put_instance("vm1", UUID)
    store.report(instance, Phase.RUNNING, address="192.168.122.17")
    before = store.etcd.revision()
    results = playbooks.run(
        task(), task(state="started"), {"instance": {"name": "vm1"}}, {"instance": {"uuid": UUID.upper()}}
    )
    assert failed(results) == []
    assert [each["changed"] for each in results] == [False] * 4
    assert results[0]["changes"] == {}
    predicted = playbooks.run(task(state="stopped"), task(state="absent"), check=True)
    assert [each["changed"] for each in predicted] == [True, True]
    assert predicted[0]["changes"] == {"power_state": {"before": "running", "after": "stopped"}}
    assert predicted[1]["diff"]["after"] == {}
    assert store.etcd.revision() == before


def test_power_states(playbooks: Playbooks, store: Store) -> None:
    instance = store.put_instance("vm1", UUID)
    store.report(instance, Phase.RUNNING, address="192.168.122.17")
    running = playbooks.start(
        {"instance": {"name": "vm1", "state": "stopped"}},
        {"instance": {"name": "vm1"}},
        {"instance": {"name": "vm1", "state": "started", "wait_for_address": False}},
    )
    stopping = store.await_instance("vm1", 2)
    assert stopping.power_state is PowerState.STOPPED
    # What the old generation was is no answer to the new one.
    store.report(instance, Phase.STOPPED)
    must_wait(running, store)
    store.report(stopping, Phase.STOPPED)
    starting = store.await_instance("vm1", 3)
    assert starting.power_state is PowerState.RUNNING
    store.report(starting, Phase.RUNNING)
    results = running.results()
    assert failed(results) == []
    assert [each["changed"] for each in results] == [True, False, True]
    assert results[1]["instance"]["power_state"] == "stopped"


def test_stopped_creates_a_stopped_instance_without_waiting_for_an_address(playbooks: Playbooks, store: Store) -> None:
    running = playbooks.start(task(state="stopped", uuid=UUID, networks=[]))
    instance = store.await_instance("vm1")
    assert (instance.uuid, instance.power_state, instance.networks) == (UUID, PowerState.STOPPED, ())
    store.report(instance, Phase.STOPPED)
    assert running.result()["changed"] is True


def test_what_cannot_be_changed_is_named_with_the_way_out(playbooks: Playbooks, store: Store) -> None:
    store.put_instance("vm1", UUID)
    before = store.etcd.revision()
    (result,) = playbooks.run(
        task(resources=SPEC["resources"] | {"vcpus": 2}, networks=[{"bridge": "br0"}], state="stopped")
    )
    assert result["failed"]
    for words in ("resources.VCPU is 1 and the task wants 2", "networks is", "br0", "state: absent", "anew"):
        assert words in result["msg"]
    assert store.etcd.revision() == before


def test_wrong_and_missing_options_are_named_before_anything_is_written(playbooks: Playbooks, store: Store) -> None:
    messages = failed(
        playbooks.run(
            {"instance": {"name": "vm1"}},
            {"instance": {"uuid": UUID}},
            {"instance": {"state": "present"}},
            task(etcd_endpoints=["127.0.0.1:2379"]),
            task(resources={"vcpus": 0, "memory_mib": 1, "disk_gib": 1}),
        )
    )
    expected = [
        "set image and resources",
        "set name",
        "name, uuid",
        "etcd_endpoints: '127.0.0.1:2379' is not a URL",
        "resources.vcpus: 0",
    ]
    assert len(messages) == len(expected)
    for words, message in zip(expected, messages, strict=True):
        assert words in message
    assert store.count("/") == 0


def test_an_error_ends_the_wait_with_its_reason(playbooks: Playbooks, store: Store) -> None:
    running = playbooks.start(task())
    instance = store.await_instance("vm1")
    store.report(
        instance, Phase.ERROR, code="image_sum", message="image /srv/images/guest.qcow2 has sum 1234", host=True
    )
    result = running.result()
    assert result["msg"] == "instance vm1: image /srv/images/guest.qcow2 has sum 1234 (image_sum)"
    assert result["changed"] is True
    assert result["status"]["phase"] == "error"


def test_a_timeout_says_how_far_it_came(playbooks: Playbooks, store: Store) -> None:
    instance = store.put_instance("vm1", UUID)
    store.report(instance, Phase.PENDING, code="no_host", message="0 of 3 hosts have 9 VCPU")
    (pending,) = playbooks.run(task(timeout=1))
    assert "is not running after 1 s; its phase is pending: 0 of 3 hosts have 9 VCPU (no_host)" in pending["msg"]
    store.report(instance, Phase.BUILDING, host=True)
    (down,) = playbooks.run(task(timeout=1))
    assert "its phase is building on host etcd2; its host etcd2 is down" in down["msg"]
    store.etcd.put(keys.alive(HOST), "{}")
    store.report(instance, Phase.RUNNING, host=True)
    (no_address,) = playbooks.run(task(timeout=1))
    assert "reported no address (wait_for_address: false" in no_address["msg"]
    assert "is down" not in no_address["msg"]


def test_deleting_waits_until_the_keys_are_gone(playbooks: Playbooks, store: Store) -> None:
    instance = store.put_instance("vm1", UUID)
    store.report(instance, Phase.RUNNING, address="192.168.122.17", host=True)
    running = playbooks.start(task(state="absent"), task(state="absent"))
    tombstone = store.await_instance("vm1", 2)
    assert tombstone.deleted
    store.report(tombstone, Phase.DELETING, host=True)
    must_wait(running, store)
    store.remove(tombstone)
    results = running.results()
    assert failed(results) == []
    assert [each["changed"] for each in results] == [True, False]
    assert results[0]["instance"] is None
    assert results[0]["diff"]["before"]["name"] == "vm1"


def test_an_instance_that_is_being_deleted_is_waited_for_and_created_anew(playbooks: Playbooks, store: Store) -> None:
    old = store.put_instance("vm1", UUID, deleted=True, generation=2)
    (refused,) = playbooks.run(task(wait=False))
    assert "is being deleted" in refused["msg"]
    running = playbooks.start(task(networks=[]))
    must_wait(running, store)
    store.remove(old)
    new = store.await_instance("vm1", other_than=UUID)
    store.report(new, Phase.RUNNING)
    result = running.result()
    assert result["changed"] is True
    assert result["instance"]["uuid"] == new.uuid


def test_two_tasks_that_create_one_name_at_once_make_one_instance(playbooks: Playbooks, store: Store) -> None:
    both = [playbooks.start(task(wait=False)) for _ in range(2)]
    results = [each.result() for each in both]
    assert failed(results) == []
    assert sorted(each["changed"] for each in results) == [False, True]
    assert store.count(keys.INSTANCES) == store.count(keys.INSTANCE_NAMES) == 1


def test_a_deletion_by_somebody_else_ends_the_wait(playbooks: Playbooks, store: Store) -> None:
    running = playbooks.start(task())
    instance = store.await_instance("vm1")
    store.remove(instance)
    assert "was deleted by somebody else" in running.result()["msg"]


def test_an_unreadable_document_can_be_deleted_and_nothing_else(playbooks: Playbooks, store: Store) -> None:
    store.raw(keys.instance(UUID), {"schema": 1, "uuid": UUID, "name": "vm1", "colour": "red"})
    store.etcd.put(keys.instance_name("vm1"), UUID)
    store.raw(keys.instance_status(UUID), {"observed_generation": 4, "host_uuid": HOST})
    store.raw(keys.assignment(HOST, UUID), {"generation": 6})
    present, absent = playbooks.run(task(), task(state="absent", wait=False))
    assert "cannot be read: its field image is missing; state: absent deletes" in present["msg"]
    assert absent["changed"] is True
    tombstone = store.instance("vm1")
    assert tombstone is not None
    assert (tombstone.deleted, tombstone.generation, tombstone.uuid) == (True, 7, UUID)


def test_a_name_without_an_instance_is_freed(playbooks: Playbooks, store: Store) -> None:
    store.etcd.put(keys.instance_name("vm1"), UUID)
    present, absent = playbooks.run(task(), task(state="absent"))
    assert f"reserved for instance {UUID}, which does not exist" in present["msg"]
    assert absent["changed"] is True
    assert store.count("/") == 0


def test_name_and_uuid_must_agree(playbooks: Playbooks, store: Store) -> None:
    store.put_instance("vm1", UUID)
    other = UUID.replace("6", "7")
    results = playbooks.run(task(uuid=other, state="absent"), task(uuid=UUID, name="vm2", state="absent"))
    assert failed(results) == [
        f"the name vm1 belongs to instance {UUID}, not to uuid {other}",
        f"uuid {UUID} is the instance vm1; an instance cannot be renamed",
    ]


@pytest.mark.parametrize("disturbance", ["restart", "kill", "compaction"])
def test_the_wait_survives_what_etcd_does(
    playbooks: Playbooks, store: Store, etcd: EtcdServer, disturbance: str
) -> None:
    running = playbooks.start(task())
    instance = store.await_instance("vm1")
    store.report(instance, Phase.BUILDING)
    if disturbance == "compaction":
        etcd.compact()
    else:
        etcd.restart(kill=disturbance == "kill")
    must_wait(running, store)
    store.report(instance, Phase.RUNNING, address="192.168.122.17")
    result = running.result()
    assert failed([result]) == []


def test_the_options_come_from_module_defaults_too(playbooks: Playbooks, etcd: EtcdServer, store: Store) -> None:
    del playbooks.environment["ETCDCOMPUTE_ETCD_ENDPOINTS"]
    results = playbooks.run(
        task(wait=False),
        {"instance_info": {}},
        module_defaults={"group/etcdcompute.cloud.all": {"etcd_endpoints": [etcd.endpoint]}},
    )
    assert failed(results) == []
    assert [each["name"] for each in results[1]["instances"]] == ["vm1"]
    assert store.count(keys.INSTANCES) == 1
