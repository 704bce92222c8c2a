"""Which refusal a client gets where a request is wrong in more than one way, or where one is easily taken for another.

The cases were found by the differential check (`tests/conformance/differential`) and are as OpenStack has them.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal

ROOT, OTHER, NOBODY = (f"00000000-0000-0000-0000-00000000000{digit}" for digit in "12f")


@pytest.fixture
def app() -> Iterator[PlacementApp]:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    application = PlacementApp(store)
    yield application
    application.close()
    store.close()


def ask(app: PlacementApp, method: str, path: str, body: Any = None, query: bytes = b"") -> int:
    return answer(app, method, path, body, query)[0]


def answer(app: PlacementApp, method: str, path: str, body: Any = None, query: bytes = b"") -> tuple[int, Any]:
    sent: list[Any] = []
    data = b"" if body is None else json.dumps(body).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"openstack-api-version": "placement 1.39", "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 8778),
        "scheme": "http",
    }
    asyncio.run(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(content) if content else None


def provider(uuid: str, name: str, parent: str | None = None) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, **({"parent_provider_uuid": parent} if parent else {})}


def test_a_parent_that_is_missing_is_told_before_a_name_that_is_taken(app: PlacementApp) -> None:
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 200
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 409
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root", NOBODY)) == 400
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root", ROOT)) == 400


def test_a_class_that_does_not_exist_is_not_found_where_it_is_part_of_the_address(app: PlacementApp) -> None:
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 200
    inventories = f"/resource_providers/{ROOT}/inventories"
    body = {"total": 4, "resource_provider_generation": 0}
    assert ask(app, "PUT", f"{inventories}/CUSTOM_NONE", body) == 404
    assert ask(app, "PUT", f"{inventories}/VCPU", body) == 400
    assert ask(app, "POST", inventories, {"total": 4, "resource_class": "CUSTOM_NONE"}) == 400


@pytest.mark.parametrize("inventory", [1, {}, None, {"total": "x"}])
def test_an_inventory_of_no_class_has_to_look_like_one(app: PlacementApp, inventory: Any) -> None:
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 200
    body = {"resource_provider_generation": 0, "inventories": {"x": inventory}}
    assert ask(app, "PUT", f"/resource_providers/{ROOT}/inventories", body) == 400


def test_what_is_wrong_is_said_in_one_line_since_openstacks_command_line_shows_the_last_one_only(
    app: PlacementApp,
) -> None:
    status, document = answer(app, "POST", "/resource_classes", {"name": "fake"})
    detail = document["errors"][0]["detail"]
    assert status == 400
    assert detail.startswith("JSON does not validate: 'fake' does not match")
    assert "\n" not in detail


@pytest.mark.parametrize("wrong", [b"resources=", b"resources=VCPU", b"in_tree=x"])
def test_a_parameter_that_is_repeated_has_to_be_right_every_time(app: PlacementApp, wrong: bytes) -> None:
    right = b"resources=VCPU:1&in_tree=" + ROOT.encode()
    assert ask(app, "GET", "/allocation_candidates", query=right) == 200
    assert ask(app, "GET", "/allocation_candidates", query=wrong + b"&" + right) == 400


def test_a_reshape_by_who_saw_another_consumer_is_a_conflict_whatever_else_is_wrong_with_it(app: PlacementApp) -> None:
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 200
    inventories = {ROOT: {"resource_provider_generation": 0, "inventories": {"CUSTOM_NONE": {"total": 1}}}}
    consumer = {"project_id": "p", "user_id": "u", "consumer_type": "X", "allocations": {}}
    for generation, status in ((1, 409), (None, 400)):
        allocations = {OTHER: {**consumer, "consumer_generation": generation}}
        assert ask(app, "POST", "/reshaper", {"inventories": inventories, "allocations": allocations}) == status


@pytest.mark.parametrize("key", [b"uuid", b"in_tree"])
def test_a_list_of_providers_takes_uuids_with_their_dashes(app: PlacementApp, key: bytes) -> None:
    assert ask(app, "GET", "/resource_providers", query=key + b"=" + ROOT.encode()) == 200
    assert ask(app, "GET", "/resource_providers", query=key + b"=" + ROOT.replace("-", "").encode()) == 400


def test_inventories_that_cannot_be_are_told_of_after_a_provider_that_has_changed(app: PlacementApp) -> None:
    assert ask(app, "POST", "/resource_providers", provider(ROOT, "root")) == 200
    bad = {"total": 4, "reserved": 9}
    path = f"/resource_providers/{ROOT}/inventories"
    for generation, status in ((7, 409), (0, 400)):
        body = {"resource_provider_generation": generation, "inventories": {"VCPU": bad}}
        assert ask(app, "PUT", path, body) == status
        assert ask(app, "POST", "/reshaper", {"inventories": {ROOT: body}, "allocations": {}}) == status
        assert ask(app, "PUT", f"{path}/VCPU", {**bad, "resource_provider_generation": generation}) == status
