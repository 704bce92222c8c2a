"""The modules `resource_provider` and `resource_provider_info` against the real placement service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etcdcompute.placement.client import PlacementClient
from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.server import PlacementThread
from tests.functional.plugins.playbook import Playbooks, failed
from tests.functional.plugins.store import Store

TOKEN = "a-secret-token"
AGGREGATE = "0e4b1bd2-9f0c-4c6e-8c6e-1f7f3d9a2b10"
CONSUMER = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
STRANGER = "7f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
NFS: dict[str, Any] = {
    "name": "nfs1",
    "inventories": {"DISK_GB": {"total": 2000, "reserved": 100, "allocation_ratio": 1.5}, "CUSTOM_SLOT": {"total": 4}},
    "traits": ["MISC_SHARES_VIA_AGGREGATE", "CUSTOM_FAST"],
    "aggregates": [AGGREGATE],
}


@pytest.fixture
def placement() -> Iterator[PlacementThread]:
    with PlacementThread("memory://", token=TOKEN) as running:
        yield running


@pytest.fixture
def client(placement: PlacementThread) -> Iterator[PlacementClient]:
    client = PlacementClient([placement.url], token=TOKEN)
    yield client
    client.close()


@pytest.fixture
def playbooks(tmp_path: Path, etcd: EtcdServer, placement: PlacementThread) -> Playbooks:
    environment = {
        "ETCDCOMPUTE_ETCD_ENDPOINTS": etcd.endpoint,
        "ETCDCOMPUTE_PLACEMENT_URLS": f"http://127.0.0.1:9,{placement.url}",
        "ETCDCOMPUTE_PLACEMENT_TOKEN": TOKEN,
    }
    return Playbooks(tmp_path, environment)


def task(**options: Any) -> dict[str, Any]:
    return {"resource_provider": NFS | options}


def named(**options: Any) -> dict[str, Any]:
    return {"resource_provider": options}


def claim(client: PlacementClient, consumer: str, resources: dict[str, int]) -> None:
    (provider,) = client.list_resource_providers(name="nfs1")
    client.claim(consumer, {provider.uuid: resources}, consumer_generation=None, project_id="p", user_id="u")


def test_a_provider_is_declared_changed_and_removed(playbooks: Playbooks, client: PlacementClient) -> None:
    predicted = playbooks.run(task(), named(name="nfs1", state="absent"), check=True)
    assert [each["changed"] for each in predicted] == [True, False]
    assert client.list_resource_providers() == ()

    results = playbooks.run(
        task(),
        task(),
        named(name="nfs1"),
        named(name="nfs1", traits=[], inventories={"DISK_GB": {"total": "2000"}}),
        {"resource_provider_info": {"name": "nfs1"}},
        named(name="nfs1", inventories={}, aggregates=[]),
        named(name="nfs1", state="absent"),
        named(name="nfs1", state="absent"),
    )
    assert failed(results) == []
    assert [each["changed"] for each in results] == [True, False, False, True, False, True, True, False]
    created, changed, listed, emptied, removed = (results[index] for index in (0, 3, 4, 5, 6))
    assert created["diff"]["before"] == {}
    assert created["resource_provider"]["inventories"]["DISK_GB"] == {
        "total": 2000,
        "reserved": 100,
        "min_unit": 1,
        "max_unit": 2147483647,
        "step_size": 1,
        "allocation_ratio": 1.5,
    }
    assert created["resource_provider"]["traits"] == ["CUSTOM_FAST", "MISC_SHARES_VIA_AGGREGATE"]
    assert sorted(changed["changes"]) == ["inventories", "traits"]
    (provider,) = listed["resource_providers"]
    assert (list(provider["inventories"]), provider["aggregates"], provider["usages"]) == (
        ["DISK_GB"],
        [AGGREGATE],
        {"DISK_GB": 0},
    )
    assert emptied["resource_provider"]["aggregates"] == []
    assert removed["resource_provider"] is None
    assert removed["diff"]["after"] == {}
    assert client.list_resource_providers() == ()


def test_check_mode_predicts_and_changes_nothing(playbooks: Playbooks, client: PlacementClient) -> None:
    client.ensure_resource_provider(CONSUMER, "nfs1")
    before = client.get_resource_provider(CONSUMER)
    results = playbooks.run(task(), named(name="new", parent="not-yet"), named(name="nfs1", state="absent"), check=True)
    assert failed(results) == []
    assert [each["changed"] for each in results] == [True, True, True]
    assert results[0]["changes"]["aggregates"] == {"before": [], "after": [AGGREGATE]}
    assert client.get_resource_provider(CONSUMER) == before
    assert len(client.list_resource_providers()) == 1


def test_trees(playbooks: Playbooks, client: PlacementClient) -> None:
    results = playbooks.run(
        named(name="root", uuid=CONSUMER),
        named(name="numa0", parent="root"),
        named(name="pf0", parent="numa0"),
        named(name="other", parent=CONSUMER),
        named(name="other", parent=""),
        named(name="other", parent=CONSUMER.upper()),
        named(uuid=CONSUMER, name="renamed"),
        named(name="lost", parent="nobody"),
        {"resource_provider_info": {"in_tree": "pf0", "details": False}},
        named(uuid=CONSUMER, state="absent"),
        named(uuid=CONSUMER, state="absent", recursive=True),
    )
    assert failed(results) == [
        "parent: there is no resource provider nobody; create it first",
        "resource provider renamed cannot be deleted: below it are numa0, other, pf0; delete those first, or set"
        " recursive: true",
    ]
    listed = results[8]["resource_providers"]
    assert [each["name"] for each in listed] == ["numa0", "other", "pf0", "renamed"]
    assert {each["root_uuid"] for each in listed} == {CONSUMER}
    assert results[4]["resource_provider"]["parent_uuid"] is None
    assert results[10]["changed"] is True
    assert client.list_resource_providers() == ()


def test_consumers_in_the_way_are_named(playbooks: Playbooks, client: PlacementClient, store: Store) -> None:
    playbooks.run(task())
    store.put_instance("vm1", CONSUMER)
    claim(client, CONSUMER, {"DISK_GB": 10})
    claim(client, STRANGER, {"DISK_GB": 10, "CUSTOM_SLOT": 1})
    results = playbooks.run(
        named(name="nfs1", state="absent"),
        named(name="nfs1", inventories={"CUSTOM_SLOT": {"total": 4}}),
        named(name="nfs1", state="absent", etcd_endpoints=["http://127.0.0.1:9"]),
        {"resource_provider_info": {"resources": {"DISK_GB": 100}}},
    )
    messages = failed(results)
    assert len(messages) == 3
    for message in messages[:2]:
        assert f"{CONSUMER} (instance vm1), {STRANGER}; delete these instances" in message
    assert f"{CONSUMER}, {STRANGER};" in messages[2]
    (provider,) = results[3]["resource_providers"]
    assert provider["usages"] == {"DISK_GB": 20, "CUSTOM_SLOT": 1}
    assert provider["allocations"][STRANGER] == {"DISK_GB": 10, "CUSTOM_SLOT": 1}
    assert len(client.list_resource_providers()) == 1
    client.release(CONSUMER)
    client.release(STRANGER)
    (removed,) = playbooks.run(named(name="nfs1", state="absent"))
    assert removed["changed"] is True


def test_two_tasks_that_create_one_provider_at_once_make_one(playbooks: Playbooks, client: PlacementClient) -> None:
    both = [playbooks.start(task()) for _ in range(2)]
    results = [each.result() for each in both]
    assert failed(results) == []
    assert len(client.list_resource_providers()) == 1


def test_what_is_wrong_is_named(playbooks: Playbooks, client: PlacementClient) -> None:
    messages = failed(
        playbooks.run(
            named(name="p", inventories={"VCPU": {}}),
            named(uuid=CONSUMER),
            named(name="p", placement_token="wrong"),
            named(name="p", placement_urls=["http://127.0.0.1:9"], placement_request_timeout=1),
            named(name="p", traits=["NOT_A_STANDARD_TRAIT"]),
        )
    )
    expected = [
        "inventories.VCPU: total is missing",
        f"resource provider {CONSUMER} does not exist; to create it, set name",
        "does not accept the given placement_token",
        "placement cannot be reached (http://127.0.0.1:9: ",
        "NOT_A_STANDARD_TRAIT",
    ]
    assert len(messages) == len(expected)
    for words, message in zip(expected, messages, strict=True):
        assert words in message
    assert [each.name for each in client.list_resource_providers()] == ["p"]
