"""POST /graph/query on a store that answers what a test says, and how the command prints it."""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from etcdcompute.cli.app import run
from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.client import PlacementClient, Rows
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import QueryMayOnlyRead
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.questions import QueryResult
from tests.unit.placement.test_app import Answer, ask

JSON = {"content-type": "application/json"}


class Oracle(EmbeddedStore):
    """A store that takes queries."""

    def __init__(self) -> None:
        super().__init__(MemoryJournal())
        self.asked: list[Any] = []
        self.answer = QueryResult(("name", "free"), [["host1", 3], ["host2", None]], truncated=False)
        self.hold: threading.Event | None = None
        self.holding = threading.Semaphore(0)

    def query(self, statement: str, parameters: Mapping[str, Any], *, timeout_s: float, most_rows: int) -> QueryResult:
        self.asked.append((statement, parameters, timeout_s, most_rows))
        if statement == "CREATE (n)":
            raise QueryMayOnlyRead("The query may only read.")
        if self.hold is not None:
            self.holding.release()
            assert self.hold.wait(20)
        return self.answer


@pytest.fixture
def store() -> Iterator[Oracle]:
    store = Oracle()
    store.start()
    yield store
    store.close()


@pytest.fixture
def app(store: Oracle) -> Iterator[PlacementApp]:
    app = PlacementApp(store)
    yield app
    app.close()


def put(app: PlacementApp, body: object, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(app, "POST", "/graph/query", body=data, headers={**JSON, **headers})


def test_rows_as_json(app: PlacementApp, store: Oracle) -> None:
    answer = put(app, {"query": "MATCH", "parameters": {"a": [1, {"b": 2.5}]}, "timeout_s": 60, "limit": 10_000})
    assert answer.status == 200
    document = json.loads(answer.body)
    assert document.pop("took_ms") >= 0
    assert document == {"columns": ["name", "free"], "rows": [["host1", 3], ["host2", None]], "truncated": False}
    put(app, {"query": "MATCH"})
    assert store.asked == [("MATCH", {"a": [1, {"b": 2.5}]}, 60, 10_000), ("MATCH", {}, 10.0, 1000)]


def test_rows_as_a_table(app: PlacementApp, store: Oracle) -> None:
    answer = put(app, {"query": "MATCH"}, accept="text/plain")
    assert answer.body.decode() == "name    free\n------  ------\nhost1   3\nhost2   -\n"
    store.answer = QueryResult(("n",), [[{"labels": ["A"], "properties": {"ü": 1}}]], truncated=True)
    text = put(app, {"query": "MATCH"}, accept="text/plain").body.decode()
    assert '{"labels": ["A"], "properties": {"ü": 1}}' in text
    assert text.endswith("There are more than these 1 rows.\n")
    assert put(app, {"query": "MATCH"}, accept="image/png").status == 406


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": 1},
        {"query": "x" * 100_001},
        {"query": "x", "parameters": []},
        {"query": "x", "timeout_s": 0},
        {"query": "x", "timeout_s": 61},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 10_001},
        {"query": "x", "more": 1},
        [],
        b"{",
    ],
)
def test_what_is_not_as_it_should_be(app: PlacementApp, store: Oracle, body: object) -> None:
    assert put(app, body).status == 400
    assert store.asked == []


def test_other_ways_to_ask(app: PlacementApp) -> None:
    assert ask(app, "GET", "/graph/query").status == 405
    assert ask(app, "POST", "/graph/query", b"x=1", b"{}", JSON).status == 400
    assert ask(app, "POST", "/graph/query", body=b"MATCH", headers={"content-type": "text/plain"}).status == 415
    refused = put(app, {"query": "CREATE (n)"})
    assert refused.status == 400
    assert "may only read" in json.loads(refused.body)["errors"][0]["detail"]


def test_the_embedded_store_says_what_takes_queries() -> None:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    app = PlacementApp(store)
    try:
        answer = put(app, {"query": "RETURN 1"})
        detail = json.loads(answer.body)["errors"][0]["detail"]
        assert answer.status == 400
        assert "placement.graph: neo4j://" in detail
        assert "etcdcompute graph export and graph import" in detail
    finally:
        app.close()
        store.close()


def test_who_waits_for_the_database_holds_up_nobody(app: PlacementApp, store: Oracle) -> None:
    store.hold = threading.Event()
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(put(app, {"query": "MATCH"}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert store.holding.acquire(timeout=20)
    busy = put(app, {"query": "MATCH"})
    assert busy.status == 503
    assert busy.headers[b"retry-after"] == b"1"
    # What computes for long has threads of its own.
    assert ask(app, "GET", "/graph/export").status == 200
    store.hold.set()
    for thread in threads:
        thread.join(20)
    assert [each.status for each in answers] == [200] * 4
    store.hold = None
    assert put(app, {"query": "MATCH"}).status == 200


# The command


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def query(
        self: PlacementClient, statement: str, parameters: Mapping[str, Any], *, timeout_s: float, limit: int
    ) -> Rows:
        asked.append((statement, dict(parameters), timeout_s, limit))
        return Rows(("name", "free", "n"), [["host1", 3, {"labels": ["A"]}], ["2", None, [1]]], True, 1.5)

    monkeypatch.setattr(PlacementClient, "query", query)
    monkeypatch.setenv("ETCDCOMPUTE_CONFIG", "/dev/null")
    monkeypatch.setenv("ETCDCOMPUTE_PLACEMENT_URLS", "http://127.0.0.1:1")
    return asked


def test_the_command_asks_and_prints(sent: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--param", "a=1", "--param", "b:=[1, 2]", "--param", "c=x=y:=z", "--param", "d:=2.5"]
    assert run(["graph", "query", "MATCH", *options, "--timeout", "3", "--limit", "2"]) == 0
    assert sent == [("MATCH", {"a": "1", "b": [1, 2], "c": "x=y:=z", "d": 2.5}, 3.0, 2)]
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2:] == ['host1   3       {"labels": ["A"]}', "2       -       [1]"]
    assert "there are more than these 2 rows" in printed.err
    assert run(["graph", "query", "MATCH", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "columns": ["name", "free", "n"],
        "rows": [["host1", 3, {"labels": ["A"]}], ["2", None, [1]]],
        "truncated": True,
        "took_ms": 1.5,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give the query, or --file with it"),
        (["MATCH", "--param", "a"], "is not NAME=TEXT or NAME:=JSON"),
        (["MATCH", "--param", "=1"], "is not NAME=TEXT or NAME:=JSON"),
        (["MATCH", "--param", "a:=nonsense"], "behind := stands JSON"),
        (["MATCH", "--limit", "0"], "0 is not in the range"),
        (["MATCH", "--timeout", "100"], "100.0 is not in the range"),
    ],
)
def test_wrong_usage(sent: list[Any], capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert run(["graph", "query", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert sent == []
