"""What browsers get: error pages, and leave to use the API from pages of other origins."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.types import ASGIApp

from etcdcompute.errors import InvalidInput
from etcdcompute.placement.api.access import TokenHolders
from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.api.cors import CrossOrigin
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal

HERE, ELSEWHERE = "https://dashboard.example.com", "https://elsewhere.example.com"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def app() -> Iterator[PlacementApp]:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    app = PlacementApp(store, gate=TokenHolders("secret"))
    yield app
    app.close()
    store.close()


def ask(app: ASGIApp, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 8778),
        "scheme": "http",
    }

    async def answer() -> None:
        await app(scope, receive, send)

    asyncio.run(answer())
    received = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], received, b"".join(message.get("body", b"") for message in sent[1:]).decode()


def get(app: ASGIApp, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(app, "GET", path, {"x-auth-token": "secret", "openstack-api-version": "placement latest", **named})


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("nonsense", "application/json"),
        ("text/html", "text/html"),
        (BROWSER, "text/html"),
        ("application/json;q=0.1, */*", "text/html"),
        ("text/plain", "text/plain"),
        ("application/json;q=0", "text/plain"),
    ],
)
def test_a_refusal_takes_the_form_that_the_client_prefers(app: PlacementApp, accept: str, media: str) -> None:
    status, headers, body = get(app, "/nowhere", accept=accept)
    assert status == 404
    assert headers["content-type"].partition(";")[0] == media
    assert "The resource could not be found." in body
    assert headers["x-openstack-request-id"] in body


def test_a_page_shows_what_was_sent_as_text(app: PlacementApp) -> None:
    status, _, body = get(app, "/resource_classes/<script>alert(1)<", accept=BROWSER)
    assert status == 404
    assert "&lt;script&gt;" in body
    assert "<script>" not in body


def test_no_page_of_another_origin_may_use_it_unless_told(app: PlacementApp) -> None:
    status, headers, _ = get(app, "/resource_providers", origin=HERE)
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]
    status, headers, _ = ask(app, "OPTIONS", "/", {"origin": HERE, "access-control-request-method": "GET"})
    assert (status, headers["allow"]) == (405, "GET")


def test_pages_of_named_origins_may(app: PlacementApp) -> None:
    served = CrossOrigin(app, (HERE, "http://other.example.com:8080"))
    for origin in (HERE, "http://other.example.com:8080"):
        status, headers, _ = get(served, "/resource_providers", origin=origin)
        assert (status, headers["access-control-allow-origin"]) == (200, origin)
        assert "origin" in headers["vary"].lower()
        assert "openstack-api-version" in headers["vary"].lower()
    status, headers, _ = get(served, "/resource_providers", origin=ELSEWHERE)
    assert status == 200
    assert "access-control-allow-origin" not in headers
    # Caches must not hand one origin's answer to another.
    assert "origin" in headers["vary"].lower()
    _, headers, _ = get(served, "/resource_providers")
    assert "access-control-allow-origin" not in headers


def test_a_page_may_see_refusals_too(app: PlacementApp) -> None:
    status, headers, body = get(CrossOrigin(app, (HERE,)), "/nowhere", origin=HERE)
    assert (status, headers["access-control-allow-origin"]) == (404, HERE)
    assert json.loads(body)["errors"][0]["status"] == 404


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (
            {"access-control-request-method": "PUT", "access-control-request-headers": "x-auth-token, Content-Type"},
            True,
        ),
        ({"access-control-request-method": "DELETE"}, True),
        ({"access-control-request-method": "PATCH"}, False),
        ({"access-control-request-method": "GET", "access-control-request-headers": "x-forwarded-for"}, False),
        ({}, False),
    ],
)
def test_a_browser_asks_first(app: PlacementApp, asked: dict[str, str], allowed: bool) -> None:
    served = CrossOrigin(app, (HERE,))
    # Without a token: browsers never send one with this question.
    status, headers, body = ask(served, "OPTIONS", "/resource_providers", {"origin": HERE, **asked})
    assert (status, body) == (200, "")
    assert ("access-control-allow-origin" in headers) == allowed
    if allowed:
        assert headers["access-control-allow-methods"] == asked["access-control-request-method"]
    _, headers, _ = ask(served, "OPTIONS", "/resource_providers", {"origin": ELSEWHERE, **asked})
    assert "access-control-allow-origin" not in headers


def test_any_origin(app: PlacementApp) -> None:
    _, headers, _ = get(CrossOrigin(app, ("*",)), "/resource_providers", origin=ELSEWHERE)
    assert headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "origin", ["", "example.com", "https://example.com/", "https://example.com/page", "https://", "http://["]
)
def test_what_is_no_origin(app: PlacementApp, origin: str) -> None:
    with pytest.raises(InvalidInput, match=r"cors_origins: .*SCHEME://HOST\[:PORT\]"):
        CrossOrigin(app, (HERE, origin))
