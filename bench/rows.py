"""The rows of the comparison: what each measures, on which deployment, and the floor that is set for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bench import measures, posts_rows
from bench.deployments import FLAT_5000, FLAT_20000, NUMA_5000, WIDE_10, Deployment
from bench.figures import Figure, Unit
from bench.posts_rows import PostsRow
from bench.requests import LIMIT
from bench.stage import Stage
from bench.wire import BenchError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `floor` is what ours must reach. `limit` names the row that shows what the machine could do at best; such a row is
    `ours_only`, there is nothing to compare it with.
    """

    key: str
    work: str
    deployment: Deployment
    unit: Unit
    measure: Callable[[Stage], Figure]
    floor: float | None = None
    limit: str = ""
    ours_only: bool = False


_FIRST = partial(measures.candidates, limit=LIMIT)
_ALL = partial(measures.candidates, limit=None)

# In the order of the table. Those of one deployment are measured in this order, too: a search that OpenStack's service
# never ends comes last.
ROWS = (
    Row("candidates-5000", "candidates, 5,000 flat, limit=10", FLAT_5000, Unit.MS, _FIRST, 5, "http-single"),
    Row("candidates-5000-all", "candidates, 5,000 flat, no limit", FLAT_5000, Unit.MS, _ALL, 50),
    Row("candidates-20000", "candidates, 20,000 flat, limit=10", FLAT_20000, Unit.MS, _FIRST, 5),
    Row("candidates-20000-all", "candidates, 20,000 flat, no limit", FLAT_20000, Unit.MS, _ALL, 200),
    Row("candidates-numa", "candidates, 5,000 with two NUMA children, limit=10", NUMA_5000, Unit.MS, _FIRST, 8),
    Row("candidates-numa-all", "candidates, 5,000 with two NUMA children, no limit", NUMA_5000, Unit.MS, _ALL, 250),
    Row(
        "candidates-wide4",
        "candidates, 10 hosts with 8 like children, 4 groups, limit=10",
        WIDE_10,
        Unit.MS,
        partial(_FIRST, device_groups=4),
        5,
    ),
    Row(
        "candidates-wide8",
        "candidates, 10 hosts with 8 like children, 8 groups, limit=10",
        WIDE_10,
        Unit.MS,
        partial(_FIRST, device_groups=8),
        10,
    ),
    Row(
        "candidates-clients",
        "8 clients asking candidates, limit=10, 5,000 flat",
        FLAT_5000,
        Unit.PER_S,
        measures.candidates_together,
        400,
        "http-clients",
    ),
    Row(
        "claims-spread",
        "claims, 8 clients, spread over 5,000 flat",
        FLAT_5000,
        Unit.PER_S,
        measures.claims_spread,
        600,
        "claims-bare",
    ),
    Row("claims-tree", "claims, 8 clients, all on one tree", NUMA_5000, Unit.PER_S, measures.claims_on_one_tree, 400),
    Row("load-flat", "loading 20,000 flat, standard API, 8 clients", FLAT_20000, Unit.S, measures.loading, 50),
    Row(
        "load-trees",
        "loading 5,000 three-provider trees, ours by the bulk route",
        NUMA_5000,
        Unit.S,
        measures.loading,
        5,
    ),
    Row("memory", "memory of the process with 20,000 flat", FLAT_20000, Unit.MB, measures.memory, 300),
    # Beside the table: how near the machine's limit.
    Row(
        "claims-single",
        "one claim at a time",
        FLAT_5000,
        Unit.MS,
        measures.claims_one_by_one,
        None,
        "claims-bare-single",
    ),
    Row(
        "claims-bare",
        "bare etcd transactions of a claim's size, 8 threads",
        FLAT_5000,
        Unit.PER_S,
        measures.bare_transactions,
        ours_only=True,
    ),
    Row(
        "claims-bare-single",
        "one bare etcd transaction at a time",
        FLAT_5000,
        Unit.MS,
        measures.bare_transactions_one_by_one,
        ours_only=True,
    ),
    Row(
        "http-single", "the smallest request (GET /), one at a time", FLAT_5000, Unit.MS, measures.http, ours_only=True
    ),
    Row(
        "http-clients", "the smallest request, 8 clients", FLAT_5000, Unit.PER_S, measures.http_together, ours_only=True
    ),
)


R = TypeVar("R", Row, PostsRow)


def chosen(words: str) -> tuple[Row, ...]:
    """Return the rows whose key begins with one of the words (separated by commas or blanks); all for none."""
    return _chosen(ROWS, words)


def chosen_of_posts(words: str) -> tuple[PostsRow, ...]:
    """Return those of the rows about the posts."""
    return _chosen(posts_rows.ROWS, words)


def _chosen(rows: Sequence[R], words: str) -> tuple[R, ...]:
    beginnings = tuple(words.replace(",", " ").split())
    known = [*(row.key for row in ROWS), *(row.key for row in posts_rows.ROWS)]
    for each in beginnings:
        if not any(key.startswith(each) for key in known):
            raise BenchError(f"there is no row {each!r}; there are {', '.join(known)}")
    return tuple(row for row in rows if not beginnings or row.key.startswith(beginnings))
