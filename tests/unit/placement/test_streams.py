"""Answers in pieces: loads of many trees and streams of changes, driven as a server drives them."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from etcdcompute.errors import EtcdComputeError, Unavailable
from etcdcompute.placement.api import streams
from etcdcompute.placement.api.access import NamedByToken
from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.api.handlers import graph_events, graph_load
from etcdcompute.placement.api.policy import Policy
from etcdcompute.placement.api.streams import Bell, StreamedAnswer, Streams
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.records import ProviderFilter
from etcdcompute.placement.graph.trees import Tree, TreeOutcome

PATIENCE_S = 20.0


class Store(EmbeddedStore):
    """A store that may be away."""

    def __init__(self) -> None:
        super().__init__(MemoryJournal())
        self.away_from = ""

    def declare_trees(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        names = [tree.providers[0].name for tree in trees]
        if self.away_from not in names:
            return super().declare_trees(trees)
        there = names.index(self.away_from)
        return [*super().declare_trees(trees[:there]), *[Unavailable("etcd is away")] * (len(trees) - there)]


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    store.start()
    yield store
    store.close()


@pytest.fixture
def app(store: Store) -> Iterator[PlacementApp]:
    app = PlacementApp(store)
    yield app
    app.close()


class Talk:
    """One request that the test feeds and whose answer it reads, on the event loop."""

    def __init__(
        self, app: PlacementApp, method: str, path: str, query: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self._input: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.waits_for_input = 0
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))
        self._text = b""

    async def _receive(self) -> dict[str, Any]:
        self.waits_for_input += 1
        return await self._input.get()

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        self._sent.put_nowait(dict(message))

    def say(self, body: bytes, *, more: bool = True) -> None:
        self._input.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._input.put_nowait({"type": "http.disconnect"})

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._sent.get(), PATIENCE_S)

    async def status(self) -> int:
        return int((await self.next())["status"])

    async def until(self, end: bytes) -> bytes:
        """Read on until the text ends in this; return the text since the last time."""
        while end not in self._text:
            message = await self.next()
            assert message.get("more_body"), self._text
            self._text += message["body"]
        found, _, self._text = self._text.partition(end)
        return found + end

    async def rest(self) -> bytes:
        while True:
            message = await self.next()
            self._text += message.get("body", b"")
            if not message.get("more_body"):
                await asyncio.wait_for(self.task, PATIENCE_S)
                return self._text


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), 4 * PATIENCE_S)

    asyncio.run(limited())


def tree(number: int, name: str = "", *, total: int = 1) -> bytes:
    document = {
        "uuid": f"11111111-2222-3333-4444-{number:012}",
        "name": name or f"host{number}",
        "inventories": {"VCPU": {"total": total}},
    }
    return json.dumps(document).encode() + b"\n"


def load(app: PlacementApp) -> Talk:
    return Talk(app, "POST", "/graph/trees", headers={"content-type": graph_load.MEDIA_TYPE})


async def loaded(app: PlacementApp, *parts: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Load these parts of a body; return the refusals and the summary."""
    talk = load(app)
    for part in parts:
        talk.say(part)
    talk.say(b"", more=False)
    assert await talk.status() == 200
    lines = [json.loads(line) for line in (await talk.rest()).splitlines()]
    return [line["refused"] for line in lines if "refused" in line], lines[-1]["summary"]


def test_bad_lines_are_named_and_the_others_carried_out(app: PlacementApp, store: Store) -> None:
    async def test() -> None:
        long = b"x" * (graph_load.MAX_LINE_BYTES + 1)
        refused, summary = await loaded(
            app,
            tree(1) + b"\n  \nnonsense\n" + tree(2)[:20],
            tree(2)[20:] + long[:-5],
            long[:700_000],
            b"\n" + tree(3) + tree(4, "host1") + long + b"\n",
            tree(5).rstrip(),
        )
        assert [(each["line"], each["root"], each["status"]) for each in refused] == [
            (4, None, 400),
            (6, None, 413),
            (8, "11111111-2222-3333-4444-000000000004", 409),
            (9, None, 413),
        ]
        assert refused[2]["code"] == "placement.duplicate_name"
        assert summary == {
            "complete": True,
            "lines": 8,
            "created": 4,
            "updated": 0,
            "unchanged": 0,
            "refused": 4,
            "providers": {"created": 4, "updated": 0, "removed": 0},
        }
        assert [provider.name for provider in await asyncio.to_thread(store.list_providers, ProviderFilter())] == [
            "host1",
            "host2",
            "host3",
            "host5",
        ]

    run(test)


def test_of_one_root_the_last_line_counts(app: PlacementApp, store: Store) -> None:
    async def test() -> None:
        lines = [tree(number % 3, total=number + 1) for number in range(300)]
        _, summary = await loaded(app, b"".join(lines), lines[-1])
        assert (summary["created"], summary["updated"], summary["unchanged"]) == (3, 297, 1)
        totals = [
            (await asyncio.to_thread(store.get_provider, f"11111111-2222-3333-4444-{number:012}")).inventories["VCPU"]
            for number in range(3)
        ]
        assert [each.total for each in totals] == [298, 299, 300]

    run(test)


def test_progress_is_told_while_the_request_still_comes_in(app: PlacementApp) -> None:
    async def test() -> None:
        talk = load(app)
        talk.say(tree(0))
        assert await talk.status() == 200
        talk.say(b"".join(tree(number) for number in range(1, graph_load.PROGRESS_LINES + 200)))
        progress = json.loads(await talk.until(b"\n"))["progress"]
        assert progress["created"] == progress["lines"] >= graph_load.PROGRESS_LINES
        talk.say(b"bad\n", more=False)
        *_, refused, summary = (json.loads(line) for line in (await talk.rest()).splitlines())
        assert refused["refused"]["line"] == graph_load.PROGRESS_LINES + 201
        assert summary["summary"]["created"] == graph_load.PROGRESS_LINES + 200

    run(test)


def test_a_client_may_send_everything_before_it_reads_anything(
    app: PlacementApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_load, "MAX_UNREAD", 100)

    async def test() -> None:
        talk = load(app)
        talk.say(b"\n")
        assert await talk.status() == 200
        talk.reads.clear()
        for _ in range(50):
            talk.say(b"bad\n" * 20)
        talk.say(tree(1), more=False)
        # It asks for all there is, though nobody takes what it has to say.
        while talk.waits_for_input < 52:
            await asyncio.sleep(0)
        talk.reads.set()
        lines = [json.loads(line) for line in (await talk.rest()).splitlines()]
        summary = lines[-1]["summary"]
        listed = sum("refused" in line for line in lines)
        assert summary["refused"] == 1000
        assert summary["refused_unlisted"] == 1000 - listed
        assert 100 <= listed < 1000
        assert summary["created"] == 1

    run(test)


def test_a_store_that_goes_away_ends_the_load_and_says_where(app: PlacementApp, store: Store) -> None:
    store.away_from = "host400"

    async def test() -> None:
        refused, summary = await loaded(app, b"".join(tree(number) for number in range(1, 1000)))
        assert refused == []
        assert summary["complete"] is False
        assert summary["continue_from_line"] == 400
        assert summary["created"] == 399
        assert "etcd is away" in summary["reason"]
        store.away_from = ""
        _, summary = await loaded(app, b"".join(tree(number) for number in range(400, 1000)))
        assert (summary["complete"], summary["created"]) == (True, 600)

    run(test)


def test_the_end_of_the_service_ends_a_load_that_waits(app: PlacementApp) -> None:
    async def test() -> None:
        talk = load(app)
        talk.say(tree(1) + tree(2))
        assert await talk.status() == 200
        threading.Thread(target=app.stop).start()
        summary = json.loads((await talk.rest()).splitlines()[-1])["summary"]
        assert summary["complete"] is False
        assert summary["continue_from_line"] == summary["created"] + 1
        assert "the service stops" in summary["reason"]

    run(test)


def test_a_client_that_leaves_its_load_is_nobodys_bug(app: PlacementApp, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        talk = load(app)
        talk.say(tree(1))
        assert await talk.status() == 200
        talk.leave()
        await asyncio.wait_for(talk.task, PATIENCE_S)

    run(test)
    assert "BUG" not in caplog.text


def test_a_load_is_of_lines_of_json(app: PlacementApp) -> None:
    async def test() -> None:
        for headers, query, status in (
            ({"content-type": "application/json"}, "", 415),
            ({"content-type": graph_load.MEDIA_TYPE, "accept": "text/html"}, "", 406),
            ({"content-type": graph_load.MEDIA_TYPE}, "pony=1", 400),
        ):
            talk = Talk(app, "POST", "/graph/trees", query, headers)
            talk.say(b"", more=False)
            assert await talk.status() == status
            await talk.rest()

    run(test)


def events(app: PlacementApp, query: str = "", **headers: str) -> Talk:
    talk = Talk(app, "GET", "/graph/events", query, {name.replace("_", "-"): value for name, value in headers.items()})
    talk.say(b"", more=False)
    return talk


def data(event: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.split(b"data: ")[1])
    return found


def test_changes_are_told_as_they_happen_and_from_where_a_client_left_off(app: PlacementApp, store: Store) -> None:
    async def test() -> None:
        talk = events(app)
        assert await talk.status() == 200
        assert await talk.until(b"\n\n") == b"retry: 1000\n\n"
        assert await talk.until(b"\n\n") == b'id: 0\nevent: start\ndata: {"revision":0}\n\n'
        for number in range(3):
            await asyncio.to_thread(store.create_provider, f"rp{number}", f"name{number}", None)
            event = await talk.until(b"\n\n")
            assert event.startswith(b"id: %d\nevent: change\n" % (number + 1))
            assert data(event)["providers"]["created"][0]["name"] == f"name{number}"
        again = events(app, "since=0", last_event_id="2")
        assert await again.status() == 200
        assert (await again.until(b"data")).startswith(b"retry: 1000\n\nid: 3\nevent: change\n")
        for each in (talk, again):
            each.leave()
            await asyncio.wait_for(each.task, PATIENCE_S)

    run(test)


@pytest.mark.parametrize("since", ["7", "9999999999999999999"])
def test_who_asks_for_what_is_not_known_is_reset_and_goes_on(app: PlacementApp, store: Store, since: str) -> None:
    store.create_provider("rp", "name", None)

    async def test() -> None:
        talk = events(app, f"since={since}")
        assert await talk.status() == 200
        await talk.until(b"retry: 1000\n\n")
        reset = await talk.until(b"\n\n")
        assert reset.startswith(b"id: 1\nevent: reset\n")
        assert data(reset)["revision"] == 1
        assert "/graph/export" in data(reset)["reason"]
        await asyncio.to_thread(store.create_provider, "rp2", "name2", None)
        assert b"id: 2\nevent: change\n" in await talk.until(b"\n\n")
        talk.leave()
        await asyncio.wait_for(talk.task, PATIENCE_S)

    run(test)


def test_a_stream_in_which_nothing_happens_is_kept_alive(app: PlacementApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_events, "HEARTBEAT_S", 0.01)

    async def test() -> None:
        talk = events(app)
        assert await talk.status() == 200
        await talk.until(b": still here\n\n")
        await talk.until(b": still here\n\n")
        talk.leave()
        await asyncio.wait_for(talk.task, PATIENCE_S)

    run(test)


def test_the_end_of_the_service_ends_streams(app: PlacementApp) -> None:
    async def test() -> None:
        talks = [events(app) for _ in range(20)]
        for talk in talks:
            assert await talk.status() == 200
            await talk.until(b"event: start")
        threading.Thread(target=app.stop).start()
        for talk in talks:
            assert (await talk.rest()).endswith(b": the service stops\n\n")

    run(test)


@pytest.mark.parametrize(
    "query", ["since=x", "since=-1", "since=", "since=%F0%9F%90%B4", "pony=1", "since=" + "1" * 20]
)
def test_a_revision_is_a_number(app: PlacementApp, query: str) -> None:
    async def test() -> None:
        talk = events(app, query)
        assert await talk.status() == 400
        await talk.rest()

    run(test)


def test_streams_are_limited_in_number(app: PlacementApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_events, "MAX_STREAMS", 1)

    async def test() -> None:
        first = events(app)
        assert await first.status() == 200
        second = events(app)
        assert await second.status() == 503
        await second.rest()
        first.leave()
        await asyncio.wait_for(first.task, PATIENCE_S)
        third = events(app)
        assert await third.status() == 200
        third.leave()
        await asyncio.wait_for(third.task, PATIENCE_S)

    run(test)


def test_a_client_that_takes_nothing_is_given_up(
    app: PlacementApp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALL_S", 0.01)

    async def test() -> None:
        talk = events(app)
        assert await talk.status() == 200
        await talk.until(b"event: start")
        talk.reads.clear()
        await asyncio.to_thread(store.create_provider, "rp", "name", None)
        await asyncio.wait_for(talk.task, PATIENCE_S)

    run(test)


def test_a_stream_is_closed_where_the_server_breaks_it_off_at_its_end(store: Store) -> None:
    closed = False

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"piece"
        finally:
            closed = True

    async def test() -> None:
        with ThreadPoolExecutor(1) as workers:
            parts = Streams(store, workers)
            blocked = asyncio.Event()

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    blocked.set()
                    await asyncio.Event().wait()

            async def receive() -> dict[str, Any]:
                raise AssertionError

            answer = asyncio.ensure_future(StreamedAnswer(parts, pieces(), "text/plain")({}, receive, send))
            await blocked.wait()
            parts.stop()
            answer.cancel()
            await answer
            assert parts.open == 0

    run(test)
    assert closed


def test_whoever_listens_before_it_looks_misses_no_bell() -> None:
    async def test() -> None:
        bell = Bell()
        for _ in range(100):
            heard = bell.listen()
            threading.Thread(target=bell.ring).start()
            await asyncio.wait_for(heard, PATIENCE_S)

    run(test)
    bell = Bell()
    bell.ring()


@pytest.mark.parametrize(
    ("roles", "allowed"), [("reader", False), ("member", False), ("admin", True), ("service", True)]
)
def test_all_below_graph_is_for_administrators_and_services(store: Store, roles: str, allowed: bool) -> None:
    app = PlacementApp(store, gate=NamedByToken(Policy("secure")))
    root = "11111111-2222-3333-4444-555555555555"

    async def test() -> None:
        for method, path, media in (
            ("GET", "/graph/events", ""),
            ("GET", "/graph/export", ""),
            ("GET", f"/graph/trees/{root}", ""),
            ("DELETE", f"/graph/trees/{root}", ""),
            ("PUT", f"/graph/trees/{root}", "application/json"),
            ("POST", "/graph/trees", graph_load.MEDIA_TYPE),
        ):
            talk = Talk(app, method, path, headers={"x-auth-token": f"user:project:{roles}", "content-type": media})
            talk.say(b"", more=False)
            assert (await talk.status() != 403) is allowed, path
            talk.leave()
            await asyncio.wait_for(talk.task, PATIENCE_S)

    run(test)
    app.close()
