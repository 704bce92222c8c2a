"""Transactions on a Neo4j server: deadlines, retries, and the driver's errors in the project's terms.

    read(work, deadline)     let work ask, with each question in a transaction that the server lets read only
    write(work, deadline)    … and change, all in one transaction; tried again where the server says that this helps

What goes wrong is Unavailable, with a sentence that says what to mend. Where the answer to a commit is lost CommitLost
says so: whoever wrote has to find out. After a failure callers are refused at once for a moment, but for one who tries:
a server that is down, or does not know our password, is not asked by everybody at once.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final, LiteralString, Self, TypeVar

from neo4j import READ_ACCESS, WRITE_ACCESS, Driver, Query, Record, Result
from neo4j.exceptions import (
    AuthError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    Neo4jError,
    UnsupportedServerProduct,
)

from etcdcompute.deadline import Deadline
from etcdcompute.errors import OutcomeUnknown, Stopped, Unavailable
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.driver import open_driver

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
# Who asks after a failure within this time hears of that, unless nobody else is trying.
_PAUSE_S: Final = 1.0
# A server that does not answer is noticed by this, by what `server.bolt.connection_keep_alive` says, or by TCP.
_CONNECT_S: Final = 3.0
_POOL: Final = 64
_TRY_AGAIN_S: Final = 0.02
_LATE_CODES: Final = ("TransactionTimedOut", "LockAcquisitionTimeout", "LockClientStopped", "Terminated")
# What to try again at once does not help: the database is not there, or has no memory to spare.
_AWAY: Final = ("DatabaseUnavailable", "MemoryPoolOutOfMemoryError", "StackOverFlowError")
# What is wrong with our own statements is a bug and nothing to wait for.
_OURS: Final = "Neo.ClientError.Statement."


class CommitLost(OutcomeUnknown):
    """The commit was sent and what came of it is not known."""


class Collision(Exception):
    """Somebody else wrote what this transaction found absent: look again and decide again."""


class Work:
    """Where statements are run: a transaction, or a session that gives each its own."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[[LiteralString, dict[str, Any]], Result]) -> None:
        self._run = run

    def rows(self, statement: LiteralString, **parameters: Any) -> list[Record]:
        """Run a statement and return all its rows."""
        return list(self._run(statement, parameters))

    def stream(self, statement: LiteralString, **parameters: Any) -> Result:
        """Run a statement and return its rows as they come; before the next statement."""
        return self._run(statement, parameters)

    def run(self, statement: LiteralString, **parameters: Any) -> None:
        """Run a statement for what it does."""
        self._run(statement, parameters).consume()


class Connection:
    """Connections to one server, made when they are needed. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self.address = address
        # How often it has failed: what comes after the next answer may be another server, or the same begun afresh.
        self.failures = 0
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._closed = False
        # Why it did not serve the last time; None where it did.
        self.failure: Unavailable | None = None
        self._failed_at = 0.0
        self._trying = threading.Lock()

    def read(self, work: Callable[[Work], _T], deadline: Deadline) -> _T:
        """Work with what only reads, and return what comes of it.

        Each statement sees what is committed when it is run. A transaction around them would not change that: Neo4j
        isolates none from what others commit meanwhile. It would only cost two more questions.
        """
        return self._until(deadline, lambda: self._read(work, deadline))

    def write(self, work: Callable[[Work], _T], deadline: Deadline) -> _T:
        """Work in a transaction, commit it, and return what came of it; CommitLost."""
        return self._until(deadline, lambda: self._write(work, deadline))

    def _until(self, deadline: Deadline, call: Callable[[], _T]) -> _T:
        """Try until it is not somebody else's doing that it fails."""
        while True:
            try:
                return self._attempt(call)
            except Collision as collision:
                # Deadlocks, and names that somebody else took first.
                if deadline.expired:
                    raise self._unavailable("others keep changing the same things") from collision
            time.sleep(min(deadline.remaining_s, random.uniform(0, _TRY_AGAIN_S)))  # noqa: S311 - no secret

    def rehearse(self, work: Callable[[Work], None], deadline: Deadline) -> None:
        """Work in a transaction and take everything back."""
        self._attempt(lambda: self._rehearse(work, deadline))

    def run_alone(self, statement: LiteralString) -> None:
        """Run a statement that wants a transaction of its own, such as one on the schema."""
        self._attempt(lambda: self._run_alone(statement))

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            self._closed = True
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Driver:
        with self._lock:
            if self._closed:
                raise Stopped("the connection to Neo4j is closed")
            if self._driver is None:
                self._driver = open_driver(self.address, connections=_POOL, connect_s=_CONNECT_S)
            return self._driver

    def _attempt(self, call: Callable[[], _T]) -> _T:
        failure = self.failure
        if failure is not None:
            pausing = time.monotonic() - self._failed_at < _PAUSE_S
            if pausing or not self._trying.acquire(blocking=False):
                raise Unavailable(str(failure)) from failure
            try:
                return self._try(call)
            finally:
                self._trying.release()
        return self._try(call)

    def _try(self, call: Callable[[], _T]) -> _T:
        try:
            result = call()
        except (Neo4jError, DriverError, OSError) as error:
            found = self._translate(error)
            if isinstance(found, Unavailable) and not _busy(error):
                if self.failure is None:
                    _LOG.warning("%s", found)
                self.failure, self._failed_at = found, time.monotonic()
                self.failures += 1
            raise found from error
        self._answered()
        return result

    def _answered(self) -> None:
        if self.failure is not None:
            self.failure = None
            _LOG.info("Neo4j at %s answers again", self.address.host_port)

    def _read(self, work: Callable[[Work], _T], deadline: Deadline) -> _T:
        with self._open().session(database=self.address.database, default_access_mode=READ_ACCESS) as session:

            def run(statement: LiteralString, parameters: dict[str, Any]) -> Result:
                return session.run(Query(statement, timeout=_timeout_s(deadline)), parameters)

            return work(Work(run))

    def _write(self, work: Callable[[Work], _T], deadline: Deadline) -> _T:
        with (
            self._open().session(database=self.address.database, default_access_mode=WRITE_ACCESS) as session,
            session.begin_transaction(timeout=_timeout_s(deadline)) as transaction,
        ):
            result = work(Work(transaction.run))
            try:
                transaction.commit()
            except ConstraintError:
                raise
            except (Neo4jError, DriverError, OSError) as error:
                if isinstance(error, Neo4jError) and error.is_retryable() and "Deadlock" in (error.code or ""):
                    raise
                raise CommitLost(f"Neo4j's answer to a change was lost: {_said(error)}") from error
        return result

    def _rehearse(self, work: Callable[[Work], None], deadline: Deadline) -> None:
        with (
            self._open().session(database=self.address.database, default_access_mode=WRITE_ACCESS) as session,
            session.begin_transaction(timeout=_timeout_s(deadline)) as transaction,
        ):
            work(Work(transaction.run))
            transaction.rollback()

    def _run_alone(self, statement: LiteralString) -> None:
        with self._open().session(database=self.address.database) as session:
            session.run(statement).consume()

    def _translate(self, error: Exception) -> Exception:
        """Return what a failure means: an error of ours, or the same where it is a bug."""
        at = self.address.host_port
        if isinstance(error, AuthError):
            return self._unavailable(
                f"it refuses the user {self.address.user} with this password; set both in placement.graph"
            )
        if isinstance(error, UnsupportedServerProduct | ConfigurationError):
            return Unavailable(f"what listens at {at} is no Neo4j that can be used: {_said(error)}")
        if isinstance(error, ConstraintError):
            return Collision(_said(error))
        if isinstance(error, Neo4jError):
            code = error.code or ""
            if code.startswith(_OURS) and not code.endswith("EntityNotFound"):
                return error
            if (error.is_retryable() and not code.endswith(_AWAY)) or code.endswith("EntityNotFound"):
                return Collision(_said(error))
            if any(late in code for late in _LATE_CODES):
                return self._unavailable("it did not finish in time")
            return self._unavailable(_said(error))
        return self._unavailable(_said(error))

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(f"Neo4j at {self.address.host_port} does not serve: {reason}")


def _timeout_s(deadline: Deadline) -> float:
    # None and 0 would mean "as long as you like".
    return max(deadline.remaining_s, 0.001)


def _busy(error: Exception) -> bool:
    """Whether it was this call that took too long, or asked for too much, and not the server that is away."""
    code = error.code or "" if isinstance(error, Neo4jError) else ""
    return any(late in code for late in _LATE_CODES) or "MemoryPool" in code or "Deadlock" in code


def _said(error: Exception) -> str:
    """Return what the driver or the server says, on one line."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    code = getattr(error, "code", None)
    return " ".join(f"{text} ({code})".split() if code else str(text).split())
