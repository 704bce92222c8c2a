"""Statements of somebody else's making, in one transaction that leaves nothing behind: for the posts' own graph."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from etcdcompute.deadline import Deadline
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.connection import Connection, Work

# Runs a statement with its parameters; rows by column, nodes as their properties.
Run = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
_T = TypeVar("_T")
# The largest of the posts' graphs is made in half a minute.
_MOST_S: Final = 600.0


def rolled_back(url: str, work: Callable[[Run], _T]) -> _T:
    """Work in one transaction that is rolled back in the end, and return what came of it.

    `url` is neo4j://USER:PASSWORD@HOST:PORT. InvalidInput, Unavailable.
    """
    found: list[_T] = []

    def undone(transaction: Work) -> None:
        def run(statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
            # Written down here or made of labels; never of input.
            return [row.data() for row in transaction.rows(cast("Any", statement), **parameters)]

        found.append(work(run))

    with Connection(Address.parse(url)) as connection:
        connection.rehearse(undone, Deadline.after(_MOST_S))
    return found[-1]
