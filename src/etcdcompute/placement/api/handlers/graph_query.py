"""A query of somebody's own, which may only read."""

import json
import time
from typing import Final

from tabulate import tabulate

from etcdcompute.placement.api.exchange import Request, Response, check_query, read_body
from etcdcompute.placement.api.media import accepts, quality
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.schemas import graph_query
from etcdcompute.placement.graph.questions import USUAL_ROWS, USUAL_TIMEOUT_S, QueryResult
from etcdcompute.placement.graph.store import GraphStore

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"


def ask(store: GraphStore, request: Request) -> Response:
    """Put a query to the graph database: its rows as JSON, or as a table where the client would rather have that."""
    check_query(request, graph_query.NO_QUERY)
    accept = request.headers.get("accept", "")
    if not accepts(accept, _JSON) and not accepts(accept, _TEXT):
        raise Problem(406, f"Only {_JSON} and {_TEXT} are provided")
    body = read_body(request, graph_query.POST)
    began = time.monotonic()
    result = store.query(
        body["query"],
        body.get("parameters", {}),
        timeout_s=body.get("timeout_s", USUAL_TIMEOUT_S),
        most_rows=body.get("limit", USUAL_ROWS),
    )
    took_ms = round(1000 * (time.monotonic() - began), 1)
    # Written out here, on a thread of its own: up to some ten megabytes.
    if quality(accept, _TEXT) > quality(accept, _JSON):
        return Response(content=_table(result).encode(), media_type=f"{_TEXT}; charset=utf-8")
    document = {
        "columns": list(result.columns),
        "rows": result.rows,
        "truncated": result.truncated,
        "took_ms": took_ms,
    }
    return Response(content=json.dumps(document).encode())


def _table(result: QueryResult) -> str:
    shown = [[_cell(value) for value in row] for row in result.rows]
    table = tabulate(shown, headers=result.columns, tablefmt="simple", disable_numparse=True)
    more = f"\nThere are more than these {len(shown)} rows.\n" if result.truncated else ""
    return f"{table}\n{more}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
