"""Any bytes on any route: an answer below 500, with an error document where it refuses."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.api.routes import ROUTES
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal

PROVIDER = "11111111-2222-3333-4444-555555555555"


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = dict(messages[0]["headers"])
        self.body = b"".join(message.get("body", b"") for message in messages[1:])


def ask(
    app: PlacementApp,
    method: str,
    path: str,
    query: bytes = b"",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    sent: list[dict[str, Any]] = []

    received = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        "server": ("127.0.0.1", 8778),
        "scheme": "http",
    }
    asyncio.run(app(scope, receive, send))
    return Answer(sent)


@pytest.fixture(scope="module")
def app() -> Iterator[PlacementApp]:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    app = PlacementApp(store)
    headers = {"content-type": "application/json"}
    body = json.dumps({"name": "host", "uuid": PROVIDER}).encode()
    assert ask(app, "POST", "/resource_providers", body=body, headers=headers).status == 201
    yield app
    app.close()
    store.close()


NUMBERS = ["1", "-1", "99999999999999999999"]
words = st.sampled_from(["VCPU", "CUSTOM_X", "HW_CPU_X86_VMX", PROVIDER, "in:", "!", ",", ":", "", "é", "\0", *NUMBERS])
phrases = st.lists(words, max_size=5).map("".join)
KEYS = """resources required member_of in_tree limit group_policy same_subtree root_required name resources1
    required1 uuid associated project_id consumer_type since format"""
BODY_KEYS = """name uuid parent_provider_uuid inventories VCPU total reserved allocation_ratio allocations resources
    traits resource_provider_generation aggregates consumer_generation project_id user_id consumer_type mappings
    resource_class children generation"""
keys = st.sampled_from(KEYS.split())
body_keys = st.sampled_from([PROVIDER, *BODY_KEYS.split()])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | phrases,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(body_keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(ROUTES)),
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]),
    st.lists(st.tuples(keys, phrases), max_size=4),
    values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
    st.integers(0, 40),
    phrases,
)
def test_nothing_that_is_sent_breaks_it(
    app: PlacementApp,
    route: str,
    method: str,
    query: list[tuple[str, str]],
    body: bytes,
    version: int,
    name: str,
) -> None:
    path = route.replace("{uuid}", PROVIDER).replace("{name}", name).replace("{resource_class}", name)
    path = path.replace("{consumer_uuid}", PROVIDER).replace("{root}", PROVIDER)
    encoded = "&".join(f"{key}={quote(value)}" for key, value in query).encode()
    headers = {"openstack-api-version": f"placement 1.{version}", "content-type": "application/json"}
    if path == "/graph/trees":
        headers["content-type"] = "application/x-ndjson"
    answer = ask(app, method, path, encoded, body, headers)
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        error = json.loads(answer.body)["errors"][0]
        assert error["status"] == answer.status
        assert error["detail"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.text(max_size=30))
def test_queries_and_paths_of_any_bytes(app: PlacementApp, query: bytes, path: str) -> None:
    assert ask(app, "GET", f"/{path}", query).status < 500
    assert (
        ask(app, "GET", "/allocation_candidates", query, headers={"openstack-api-version": "placement latest"}).status
        < 500
    )


inventories = st.dictionaries(
    st.sampled_from(["VCPU", "CUSTOM_X", "PONIES", "\0", "custom"]),
    st.fixed_dictionaries(
        {"total": st.integers() | values}, optional={"allocation_ratio": st.floats(), "reserved": values}
    ),
    max_size=2,
)
uuids = st.integers(0, 3).map(lambda number: f"11111111-2222-3333-4444-{number:012}")
trees = st.recursive(
    st.fixed_dictionaries(
        {"uuid": st.just(PROVIDER) | uuids, "name": phrases},
        optional={"inventories": inventories, "traits": st.lists(phrases), "aggregates": st.lists(uuids | phrases)},
    ),
    lambda inner: st.fixed_dictionaries(
        {"uuid": st.just(PROVIDER) | uuids, "name": phrases, "children": st.lists(inner, max_size=3)},
        optional={"generation": st.integers(), "traits": values},
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(trees)
def test_trees_of_any_kind_are_declared_or_refused(app: PlacementApp, tree: dict[str, Any]) -> None:
    body = json.dumps(tree).encode()
    answer = ask(app, "PUT", f"/graph/trees/{tree['uuid']}", body=body, headers={"content-type": "application/json"})
    assert answer.status < 500, answer.body
    lines = body + b"\n" + body[:-1] + b"\n" + body
    loaded = ask(app, "POST", "/graph/trees", body=lines, headers={"content-type": "application/x-ndjson"})
    assert loaded.status == 200
    *refused, last = (json.loads(line) for line in loaded.body.splitlines())
    assert last["summary"]["complete"]
    # What was declared at a generation has another one once it has been changed.
    again = ([2], [1, 2, 3]) if b'"generation"' in body else ([2],)
    assert [each["refused"]["line"] for each in refused] in (again if answer.status < 300 else ([1, 2, 3],))
    assert all(each["refused"]["status"] < 500 for each in refused)
    for path in ("/graph/export", f"/graph/trees/{tree['uuid']}"):
        assert ask(app, "GET", path).status < 500
    assert ask(app, "GET", "/graph/export", b"format=dot").status == 200
    assert ask(app, "GET", "/graph/events", b"since=0").status == 200
