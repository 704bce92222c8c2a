"""Queries of somebody's own, put to a real Neo4j: what they may not do, and how much they may take."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neo4j import Driver, GraphDatabase

from etcdcompute.errors import EtcdComputeError, InvalidInput, Stopped, Unavailable
from etcdcompute.placement.client import PlacementClient
from etcdcompute.placement.graph.errors import QueryMayOnlyRead, QueryTooLarge, QueryTooLong
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.asking import Asker
from etcdcompute.placement.graph.questions import QueryResult
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.server import PlacementProcess
from tests.functional.waiting import eventually

WRITING = [
    "CREATE (n:Intruder) RETURN n",
    "MERGE (n:Intruder)",
    "MATCH (n) SET n.intruder = true",
    "MATCH (n) REMOVE n.name",
    "MATCH (n) DETACH DELETE n",
    "FOREACH (x IN [1] | CREATE (:Intruder))",
    "MATCH (n) CALL (n) { SET n.intruder = true } RETURN n",
    "CREATE INDEX intruder FOR (n:Intruder) ON (n.name)",
    "CREATE CONSTRAINT intruder FOR (n:Intruder) REQUIRE n.name IS UNIQUE",
    "DROP INDEX intruder IF EXISTS",
    "CALL db.createLabel('Intruder')",
    "CALL db.createProperty('intruder')",
    "MATCH (n) CALL db.create.setNodeVectorProperty(n, 'intruder', [1.0]) RETURN n",
    "PROFILE CREATE (:Intruder)",
    "EXPLAIN CREATE (:Intruder)",
    "USE neo4j CREATE (:Intruder)",
    "USE system CREATE (:Intruder)",
    "CREATE (:Intruder); CREATE (:Intruder)",
    "UNWIND [1] AS x CALL (x) { CREATE (:Intruder) } IN TRANSACTIONS",
    "UNWIND [1] AS x CALL (x) { RETURN 1 AS y } IN TRANSACTIONS RETURN y",
    "USING PERIODIC COMMIT CREATE (:Intruder)",
    "CALL apoc.create.node(['Intruder'], {})",
    "CALL apoc.cypher.doIt('CREATE (:Intruder)', {})",
    "COMMIT",
]
COMMANDS = [
    "CREATE USER intruder SET PASSWORD 'a-password-of-theirs'",
    "ALTER USER neo4j SET PASSWORD 'a-password-of-theirs'",
    "ALTER CURRENT USER SET PASSWORD FROM 'x' TO 'a-password-of-theirs'",
    "DROP USER neo4j",
    "RENAME USER neo4j TO intruder",
    "GRANT ROLE admin TO intruder",
    "SHOW USERS",
    "SHOW DATABASES",
    "SHOW SETTINGS",
    "SHOW SETTINGS YIELD name, value WHERE name CONTAINS 'dir' RETURN name, value",
    "SHOW TRANSACTIONS",
    "SHOW TRANSACTIONS YIELD transactionId AS t TERMINATE TRANSACTIONS t YIELD message RETURN message",
    "TERMINATE TRANSACTIONS 'neo4j-transaction-1'",
    "CREATE DATABASE intruder",
    "STOP DATABASE neo4j",
    "DROP DATABASE neo4j",
    "ALTER DATABASE neo4j SET ACCESS READ ONLY",
    "CALL dbms.setConfigValue('db.transaction.timeout', '1s')",
    "CALL dbms.listConfig()",
    "CALL dbms.listConnections()",
    "CALL dbms.killConnection('bolt-1')",
    "MATCH (n) CALL (n) { CALL dbms.killConnection('bolt-1') YIELD message RETURN message } RETURN message",
    "CALL dbms.queryJmx('*:*')",
    "CALL dbms.upgrade()",
    "CALL db.clearQueryCaches()",
    "CALL db.prepareForReplanning()",
    "CALL db.stats.clear('QUERIES')",
    "CALL db.resampleOutdatedIndexes()",
    "RETURN 1 AS section UNION CALL db.stats.clear('QUERIES') YIELD section RETURN section",
    "CALL tx.setMetaData({intruder: true})",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "LOAD CSV FROM 'http://127.0.0.1:1/' AS line RETURN line",
    "LOAD CSV FROM 'ftp://127.0.0.1:1/' AS line RETURN line",
    "MATCH (n) CALL (n) { LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line } RETURN line",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    # Files may be read here, as with the settings that Neo4j has by itself: it is not the server that is to stop it.
    settings = {
        "dbms.security.allow_csv_import_from_file_urls": "true",
        "server.directories.import": "/etc",
        "db.memory.transaction.max": "64m",
    }
    with Neo4jServer(tmp_path_factory.mktemp("neo4j"), settings=settings) as running:
        running.run(
            "CREATE (p:ResourceProvider {uuid: 'p', name: 'host'})-[:PROVIDES]->(i:Inventory {total: 4})"
            "<-[:CONSUMES {amount: 2}]-(:Consumer {uuid: 'c'})"
        )
        yield running


@pytest.fixture(scope="module")
def driver(server: Neo4jServer) -> Iterator[Driver]:
    with GraphDatabase.driver(f"bolt://127.0.0.1:{server.port}", auth=("neo4j", server.password)) as opened:
        yield opened


@pytest.fixture
def asker(server: Neo4jServer) -> Iterator[Asker]:
    asker = Asker(Address.parse(server.url))
    yield asker
    asker.close()


def ask(asker: Asker, query: str, timeout_s: float = 10.0, most_rows: int = 10, **values: Any) -> QueryResult:
    return asker.ask(query, values, timeout_s=timeout_s, most_rows=most_rows)


def state(driver: Driver) -> list[object]:
    queries = (
        "MATCH (n) OPTIONAL MATCH (n)-[r]->(m) RETURN n, r, m ORDER BY elementId(n), elementId(r)",
        "SHOW INDEXES YIELD name RETURN name ORDER BY name",
        "SHOW CONSTRAINTS YIELD name RETURN name ORDER BY name",
        "SHOW USERS YIELD user, suspended RETURN user, suspended ORDER BY user",
        "SHOW DATABASES YIELD name, access, requestedStatus RETURN name, access, requestedStatus",
        "CALL db.labels() YIELD label RETURN label ORDER BY label",
        "CALL db.propertyKeys() YIELD propertyKey AS key RETURN key ORDER BY key",
    )
    return [[row.data() for row in driver.execute_query(query).records] for query in queries]


@pytest.mark.parametrize("query", WRITING)
def test_nothing_is_written(driver: Driver, asker: Asker, query: str) -> None:
    before = state(driver)
    with pytest.raises(InvalidInput):
        ask(asker, query)
    assert state(driver) == before


@pytest.mark.parametrize("query", COMMANDS)
def test_nothing_is_commanded_nor_read_from_elsewhere(driver: Driver, asker: Asker, query: str) -> None:
    before = state(driver)
    with pytest.raises(InvalidInput) as refused:
        ask(asker, query)
    # Or Neo4j knows no such command: they are the other edition's.
    assert isinstance(refused.value, QueryMayOnlyRead) or "does not take the query" in str(refused.value)
    assert "root:" not in str(refused.value)
    assert state(driver) == before


def test_the_database_itself_refuses_to_write(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the look at the plan misses."""
    monkeypatch.setattr("etcdcompute.placement.graph.neo4j.asking._check_kind", lambda _kind: None)
    with pytest.raises(QueryMayOnlyRead, match="Writing in read access mode not allowed"):
        ask(asker, "CREATE (:Intruder)")


def test_what_a_query_may_do(asker: Asker) -> None:
    query = "MATCH (c:Consumer)-[r:CONSUMES]->(i)<-[:PROVIDES]-(p {name: $name}) RETURN c.uuid AS who, r, p, r.amount"
    answer = ask(asker, query, name="host")
    assert answer.columns == ("who", "r", "p", "r.amount")
    provider = {"labels": ["ResourceProvider"], "properties": {"uuid": "p", "name": "host"}}
    assert answer.rows == [["c", {"type": "CONSUMES", "properties": {"amount": 2}}, provider, 2]]
    assert not answer.truncated
    assert ask(asker, "CALL db.labels()").columns == ("label",)
    assert ask(asker, "SHOW INDEXES YIELD name RETURN count(*) > 0").rows == [[True]]
    assert ask(asker, "EXPLAIN MATCH (n) RETURN n").rows == []
    assert ask(asker, "// a comment\nRETURN 1 AS one").rows == [[1]]
    assert ask(asker, "FINISH").rows == []


def test_values(asker: Asker) -> None:
    query = """MATCH path = (:Consumer)-->(i)<--(:ResourceProvider)
        RETURN path, datetime('2026-11-26T02:30:27Z'), date('2026-11-26'), duration('P1DT2H'), time('02:30+01:00'),
          localdatetime('2026-11-26T02:30'), point({longitude: 8.5, latitude: 47.4}), 0.0 / 0.0, 1.0 / 0.0, -1.0 / 0.0,
          {a: [1, null, true, 'ü']}, 2.5"""
    path, *others = ask(asker, query).rows[0]
    assert [each["labels"] for each in path["nodes"]] == [["Consumer"], ["Inventory"], ["ResourceProvider"]]
    assert path["relationships"] == [
        {"type": "CONSUMES", "properties": {"amount": 2}, "start": 0, "end": 1},
        {"type": "PROVIDES", "properties": {}, "start": 2, "end": 1},
    ]
    assert others == [
        "2026-11-26T02:30:27.000000000+00:00",
        "2026-11-26",
        "P1DT2H",
        "02:30:00.000000000+01:00",
        "2026-11-26T02:30:00.000000000",
        {"srid": 4326, "coordinates": [8.5, 47.4]},
        "NaN",
        "Infinity",
        "-Infinity",
        {"a": [1, None, True, "ü"]},
        2.5,
    ]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("MATCH (n RETURN n", r"Invalid input 'RETURN'.*line 1, column 10"),
        ("RETURN nobody", r"Variable `nobody` not defined \(line 1, column 8"),
        ("RETURN $missing", "missing"),
        ("RETURN 1 / 0", "by zero"),
        ("RETURN toInteger([])", "toInteger"),
        ("", "query"),
        ("   ", "query"),
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(asker: Asker, query: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        ask(asker, query)


def test_parameters_that_cannot_be_sent(asker: Asker) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in (2**63, deep):
        with pytest.raises(InvalidInput):
            ask(asker, "RETURN $x", x=value)
    assert ask(asker, "RETURN $x", x=2**63 - 1).rows == [[2**63 - 1]]


@pytest.mark.parametrize(
    "query",
    [
        "UNWIND range(1, 1000000000000) AS x WITH x WHERE x < 0 RETURN x",
        "UNWIND range(1, 1000000000000) AS x RETURN sum(x)",
    ],
)
def test_a_query_ends_in_its_time(asker: Asker, query: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryTooLong, match="after 1 s"):
        ask(asker, query, timeout_s=1)
    assert time.monotonic() - began < 8


def test_rows_without_end_are_cut(asker: Asker, server: Neo4jServer) -> None:
    began = time.monotonic()
    answer = ask(asker, "UNWIND range(1, 1000000000000) AS x RETURN x", most_rows=1000)
    assert [row[0] for row in answer.rows] == list(range(1, 1001))
    assert answer.truncated
    assert time.monotonic() - began < 5
    assert not ask(asker, "UNWIND range(1, 10) AS x RETURN x").truncated
    running = server.run("SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery STARTS WITH 'UNWIND' RETURN *")
    assert running == []


@pytest.mark.parametrize(
    "query",
    [
        "RETURN range(1, 10000000) AS giant",
        "UNWIND range(1, 1000) AS x RETURN range(1, 1000000) AS giant",
        "RETURN reduce(s = 'twenty bytes or more..', x IN range(1, 20) | s + s) AS giant",
    ],
)
def test_a_giant_answer_is_given_up(asker: Asker, query: str) -> None:
    before = resident_mib()
    with pytest.raises(QueryTooLarge, match="larger than 8388608 bytes"):
        ask(asker, query, most_rows=10_000)
    assert resident_mib() - before < 200
    assert ask(asker, "RETURN 1").rows == [[1]]


def test_what_needs_more_memory_than_the_database_gives_it(asker: Asker) -> None:
    with pytest.raises(QueryTooLarge, match="more memory than the database has for it"):
        ask(asker, "UNWIND range(1, 100000000) AS x WITH collect(x) AS held RETURN size(held)", timeout_s=60)


def test_a_giant_that_the_database_does_not_get_done_in_time(asker: Asker) -> None:
    before = resident_mib()
    with pytest.raises((QueryTooLarge, QueryTooLong)):
        ask(asker, "RETURN range(1, 1000000000) AS giant", timeout_s=1)
    assert resident_mib() - before < 200
    assert ask(asker, "RETURN 1").rows == [[1]]


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def await_queries(server: Neo4jServer, count: int) -> None:
    """Wait until the server works at so many sums without an end."""
    under_way = (
        "SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery STARTS WITH 'UNWIND range(1, 1000000000000)' "
        "RETURN count(*) AS count"
    )
    eventually(lambda: server.run(under_way)[0]["count"] == count, f"{count} queries to be under way")


def test_the_end_of_the_service_ends_queries(server: Neo4jServer) -> None:
    asker = Asker(Address.parse(server.url))
    ended: list[EtcdComputeError] = []

    def endless() -> None:
        with pytest.raises(Stopped) as caught:
            ask(asker, "UNWIND range(1, 1000000000000) AS x RETURN sum(x)", timeout_s=60)
        ended.append(caught.value)

    thread = threading.Thread(target=endless)
    thread.start()
    await_queries(server, 1)
    asker.close()
    thread.join(5)
    assert not thread.is_alive()
    assert ended
    with pytest.raises(Stopped):
        ask(asker, "RETURN 1")


def test_a_server_that_is_away_or_frozen(server: Neo4jServer, asker: Asker) -> None:
    ask(asker, "RETURN 1")
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            ask(asker, "RETURN 1", timeout_s=1)
        assert time.monotonic() - began < 20
    finally:
        server.thaw()
    server.wait_healthy()
    assert ask(asker, "RETURN 1").rows == [[1]]
    server.kill()
    with pytest.raises(Unavailable, match="Neo4j"):
        ask(asker, "RETURN 1")
    server.start()
    assert ask(asker, "RETURN 1").rows == [[1]]


def test_over_http(server: Neo4jServer, tmp_path: Path) -> None:
    """A service in a process of its own: others are served meanwhile, and it ends in time."""
    with PlacementProcess(server.url, tmp_path / "log") as service:
        client = PlacementClient([service.url])
        answer = client.query("MATCH (p:ResourceProvider {name: $name}) RETURN p.uuid", {"name": "host"})
        assert (answer.columns, answer.rows, answer.truncated) == (("p.uuid",), [["p"]], False)
        for query in ("CREATE (:Intruder)", "SHOW SETTINGS", "MATCH (n RETURN n"):
            with pytest.raises(InvalidInput):
                client.query(query)
        with pytest.raises(InvalidInput, match=r"ended after 0\.5 s"):
            client.query("UNWIND range(1, 1000000000000) AS x RETURN sum(x)", timeout_s=0.5)
        ended: list[EtcdComputeError] = []

        def endless() -> None:
            asker = PlacementClient([service.url])
            try:
                asker.query("UNWIND range(1, 1000000000000) AS x RETURN sum(x)", timeout_s=60)
            except EtcdComputeError as error:
                ended.append(error)
            finally:
                asker.close()

        threads = [threading.Thread(target=endless) for _ in range(4)]
        for thread in threads:
            thread.start()
        await_queries(server, len(threads))
        with pytest.raises(Unavailable, match="4 queries are under way already"):
            client.query("RETURN 1")
        client.list_resource_providers()
        began = time.monotonic()
        assert service.terminate() == 0
        assert time.monotonic() - began < 5
        for thread in threads:
            thread.join(10)
        assert len(ended) == 4
        client.close()
    eventually(lambda: not running(server), "the end of the queries in the database")


def running(server: Neo4jServer) -> list[object]:
    return list(server.run("SHOW TRANSACTIONS YIELD currentQuery AS q WHERE q STARTS WITH 'UNWIND' RETURN q"))
