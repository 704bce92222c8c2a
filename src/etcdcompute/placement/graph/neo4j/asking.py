"""Somebody's own question in Cypher: it may read the graph, for a while, and do nothing else.

What holds it to that is the database, not a look at the text:

- the transaction is opened for reading, in which Neo4j refuses to write, schema and users included; it has a time
  limit, and is rolled back in any case;
- Neo4j is asked first how it would carry out the question (EXPLAIN). Reading alone would still allow to end other
  people's transactions and connections, to read settings, running queries and files, and to call whatever procedure
  says of itself that it reads: who plans to is refused before anything is done.

It has connections of its own, so that questions wait for no other work, nor it for them. Before one is used again it is
tried out: the driver waits for minutes for a server that has stopped in mid-sentence.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from neo4j import READ_ACCESS, Driver, Result, Transaction
from neo4j.exceptions import (
    AuthError,
    ClientError,
    DriverError,
    Forbidden,
    Neo4jError,
    ResultError,
    TransientError,
)

from etcdcompute.errors import AccessDenied, EtcdComputeError, InvalidInput, Stopped, Unavailable
from etcdcompute.placement.graph.errors import QueryMayOnlyRead, QueryTooLarge, QueryTooLong
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.bounds import Bounds
from etcdcompute.placement.graph.neo4j.driver import open_driver
from etcdcompute.placement.graph.neo4j.values import plain
from etcdcompute.placement.graph.questions import MOST_BYTES, MOST_TIMEOUT_S, QueryResult

# Rows that are fetched ahead; the driver stops the server when nobody takes them.
_FETCH_ROWS = 500
# Of what changes nothing in the graph and yet is no business of a question, Neo4j's names for the steps of a plan.
_FOREIGN_STEPS = ("Terminate", "LoadCSV", "AdministrationCommand", "Transaction")
_SHOWN = frozenset({"ShowIndexes", "ShowConstraints", "ShowFunctions", "ShowProcedures"})
_PROCEDURES = frozenset(
    {
        "db.labels",
        "db.propertyKeys",
        "db.relationshipTypes",
        "db.schema.nodeTypeProperties",
        "db.schema.relTypeProperties",
        "db.schema.visualization",
    }
)
_READS = "r"
_CONNECT_S = 2.0
_POOL = 16
_ENDS = "The service ends, and the query with it."
_EXPLAIN = "EXPLAIN "
_POSITION = re.compile(r"line 1, column (\d+) \(offset: (\d+)\)")


class Asker:
    """Puts questions to one server. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._open: set[Bounds] = set()
        self._closed = False

    def ask(self, statement: str, parameters: Mapping[str, Any], *, timeout_s: float, most_rows: int) -> QueryResult:
        """Return the first rows of the answer. Raises InvalidInput that says what is wrong with it, Unavailable."""
        bounds: Bounds | None = None
        planned = False
        try:
            with self._connect().session(
                database=self._address.database,
                default_access_mode=READ_ACCESS,
                fetch_size=min(most_rows + 1, _FETCH_ROWS),
            ) as session:
                transaction = session.begin_transaction(timeout=timeout_s)
                bounds = self._bind(transaction, timeout_s)
                try:
                    _check(transaction, statement, parameters)
                    planned = True
                    return _read(transaction, statement, parameters, most_rows)
                finally:
                    try:
                        # Without commit: rolled back. It tells the server to forget the rows that nobody took.
                        transaction.close()
                    finally:
                        bounds.lift()
        except (Neo4jError, DriverError, OSError) as error:
            if bounds is not None and bounds.exceeded:
                raise QueryTooLarge(
                    f"The answer is larger than {MOST_BYTES} bytes: ask for fewer rows or columns, or shorter lists."
                ) from error
            if self._closed:
                raise Stopped(_ENDS) from error
            if planned and bounds is not None and bounds.late:
                raise _too_long(timeout_s) from error
            raise _meaning(error, timeout_s, 0 if planned else len(_EXPLAIN)) from error
        except (OverflowError, TypeError, ValueError, RecursionError) as error:
            # The driver's own refusals: of numbers beyond 64 bits, of what is nested too deeply.
            raise InvalidInput(f"The query's parameters cannot be sent: {error}") from error
        finally:
            if bounds is not None:
                with self._lock:
                    self._open.discard(bounds)

    def close(self) -> None:
        """Break off what is under way."""
        with self._lock:
            self._closed = True
            driver, self._driver = self._driver, None
            for bounds in self._open:
                bounds.break_off()
        if driver is not None:
            driver.close()

    def _connect(self) -> Driver:
        with self._lock:
            if self._closed:
                raise Stopped(_ENDS)
            if self._driver is None:
                self._driver = open_driver(self._address, connections=_POOL, connect_s=_CONNECT_S, check_idle=True)
            return self._driver

    def _bind(self, transaction: Transaction, timeout_s: float) -> Bounds:
        bounds = Bounds(transaction, MOST_BYTES, timeout_s)
        with self._lock:
            self._open.add(bounds)
            if self._closed:
                bounds.break_off()
        return bounds


def _check(transaction: Transaction, statement: str, parameters: Mapping[str, Any]) -> None:
    """Have the database say what it would do, and refuse what is more than to read the graph."""
    plan = _run(transaction, f"{_EXPLAIN}{statement}", parameters).consume()
    _check_kind(plan.query_type)
    for step, details in _steps(plan.plan):
        _check_step(step, details)


def _read(transaction: Transaction, statement: str, parameters: Mapping[str, Any], most_rows: int) -> QueryResult:
    answer = _run(transaction, statement, parameters)
    columns = tuple(answer.keys())
    rows: list[list[Any]] = []
    for record in answer:
        if len(rows) == most_rows:
            return QueryResult(columns, rows, truncated=True)
        rows.append([plain(value) for value in record.values()])
    return QueryResult(columns, rows, truncated=False)


def _run(transaction: Transaction, statement: str, parameters: Mapping[str, Any]) -> Result:
    # Nobody built this statement from input: it is input, whole, and may only read.
    return transaction.run(statement, dict(parameters))


def _check_kind(kind: str | None) -> None:
    if kind == "s":
        raise QueryMayOnlyRead(
            "The query is a command to the database, or calls a procedure that is one; it may only read the graph."
        )
    if kind != _READS:
        raise QueryMayOnlyRead("The query would write to the graph; it may only read. Write through the API's routes.")


def _check_step(step: str, details: str) -> None:
    if step.startswith(_FOREIGN_STEPS) or (step.startswith("Show") and step not in _SHOWN):
        raise QueryMayOnlyRead(f"The query is more than a question about the graph ({step}); it may only read that.")
    if "ProcedureCall" in step:
        name = details.partition("(")[0].strip()
        if name not in _PROCEDURES:
            raise QueryMayOnlyRead(
                f"The query calls the procedure {name}; it may call {', '.join(sorted(_PROCEDURES))} and no other."
            )


def _steps(plan: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    waiting = [plan] if plan else []
    while waiting:
        each = waiting.pop()
        yield each["operatorType"].partition("@")[0], str(each.get("args", {}).get("Details", ""))
        waiting.extend(each.get("children", ()))


def _meaning(error: Exception, timeout_s: float, shift: int) -> EtcdComputeError:
    """Return what an error of the driver's means to who asked; `shift` is what stood before the statement."""
    code = str(getattr(error, "code", None) or "")
    sentence = _sentence(error, shift)
    if "TransactionTimedOut" in code:
        return _too_long(timeout_s)
    if code.endswith(".AccessMode"):
        return QueryMayOnlyRead(f"The query may only read. {sentence}")
    if "OutOfMemory" in code:
        return QueryTooLarge("The query needs more memory than the database has for it: have it look at less.")
    if isinstance(error, AuthError | Forbidden):
        return AccessDenied(f"Neo4j refuses the placement service: {sentence}")
    if isinstance(error, ClientError | ResultError):
        return InvalidInput(f"Neo4j does not take the query: {sentence}")
    if isinstance(error, TransientError):
        return Unavailable(f"Neo4j cannot answer now: {sentence}")
    return Unavailable(f"Neo4j does not answer: {sentence}")


def _too_long(timeout_s: float) -> QueryTooLong:
    return QueryTooLong(
        f"The query was ended after {timeout_s:g} s: have it look at less, or give it more time "
        f"(timeout_s, {MOST_TIMEOUT_S:g} at most)."
    )


def _sentence(error: Exception, shift: int) -> str:
    """Return the driver's sentence, with the position in what was asked, without the drawing of it."""
    text = str(getattr(error, "message", None) or error).partition('\n"')[0]

    def shifted(found: re.Match[str]) -> str:
        return f"line 1, column {max(int(found[1]) - shift, 1)} (offset: {max(int(found[2]) - shift, 0)})"

    return " ".join(_POSITION.sub(shifted, text).split())
