"""The posts' part: their own graph made in Neo4j, their queries run on it, and nothing of it left."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etcdcompute.errors import AlreadyExists
from etcdcompute.placement.demo import cypher
from etcdcompute.placement.demo.examples import Record
from etcdcompute.placement.demo.service import Progress, Say
from etcdcompute.placement.demo.topologies import Topology

# Runs a statement with its parameters, inside a transaction that is not committed.
Run = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query has returned, and how long it took until all of that had arrived."""

    rows: Sequence[Mapping[str, Any]]
    took_s: float


class PostsGraph:
    """The posts' graph of a topology, in a transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def make(self, topology: Topology, say: Say) -> None:
        """Create it; AlreadyExists where the database has nodes that the posts' queries would find as well."""
        (found,) = self._run(cypher.COUNT_LABELLED, {})
        if found["found"]:
            raise AlreadyExists(
                f"This Neo4j holds {found['found']:,} nodes with labels of the posts ({', '.join(cypher.LABELS)}), "
                "which their queries would find as well. Give the demo a database of its own."
            )
        progress = Progress(say, "graph nodes made for the posts' queries", topology.graph_nodes)
        for statement, parameters in cypher.creation(topology):
            self._run(statement, parameters)
            rows = parameters.get("rows", ())
            progress.add(sum(map(len, rows)))

    def ask(self, query: str) -> Rows:
        """Run one of the posts' queries."""
        began = time.monotonic()
        rows = self._run(query, {})
        return Rows(rows, time.monotonic() - began)


def read_rows(topology: Topology, rows: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Return what rows of nodes are about."""
    holders = {holder.name: holder for holder in topology.all_holders()}
    resources = {resource.name: resource for holder in holders.values() for resource in holder.resources}
    return [
        Record(
            holders[row["cnode"]["name"]],
            resources[row["disk"]["name"]],
            resources[row["ram"]["name"]] if "ram" in row else None,
        )
        for row in rows
    ]
