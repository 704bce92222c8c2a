"""Statements of somebody else's making, in one transaction that leaves nothing behind: for the posts' own graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, DriverError, Neo4jError, ServiceUnavailable

from etcdcompute.errors import AccessDenied, InvalidInput, Unavailable

# Runs a statement with its parameters; rows by column, nodes as their properties.
Run = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
_PORT = 7687


@contextmanager
def rolled_back(url: str) -> Iterator[Run]:
    """Give a way to run statements in one transaction, which is rolled back in the end.

    `url` is neo4j://USER:PASSWORD@HOST:PORT. InvalidInput, AccessDenied, Unavailable.
    """
    parts = urlsplit(url)
    if parts.scheme != "neo4j" or not parts.hostname:
        raise InvalidInput("graph: not neo4j://USER:PASSWORD@HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = f"{host}:{parts.port or _PORT}"
    credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    try:
        with (
            GraphDatabase.driver(f"bolt://{where}", auth=credentials, notifications_min_severity="OFF") as driver,
            driver.session() as session,
            session.begin_transaction() as transaction,
        ):

            def run(cypher: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
                # The posts' text has no parameters in it, and ours is not built from input.
                return [row.data() for row in transaction.run(cypher, dict(parameters))]

            try:
                yield run
            finally:
                transaction.rollback()
    except AuthError as error:
        raise AccessDenied(f"Neo4j at {where} does not take this user and password") from error
    except ServiceUnavailable as error:
        raise Unavailable(f"Neo4j at {where} does not answer: {error}") from error
    except (Neo4jError, DriverError) as error:
        raise Unavailable(f"Neo4j at {where}: {error}") from error
