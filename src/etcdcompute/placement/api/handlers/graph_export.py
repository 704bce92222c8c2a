"""The whole graph, to keep, to compare or to draw."""

from typing import Final

from etcdcompute.placement.api.exchange import Request, Response, check_query, compile_schema
from etcdcompute.placement.api.schemas.forms import record
from etcdcompute.placement.graph.drawing import to_dot
from etcdcompute.placement.graph.export import to_json
from etcdcompute.placement.graph.store import GraphStore

QUERY: Final = compile_schema(record({}, {"format": {"type": "string", "enum": ["json", "dot"]}}))


def export(store: GraphStore, request: Request) -> Response:
    """Write out the graph as JSON or for Graphviz."""
    check_query(request, QUERY)
    snapshot = store.take_snapshot()
    if request.last("format") == "dot":
        return Response(content=to_dot(snapshot).encode(), media_type="text/vnd.graphviz")
    return Response(content=to_json(snapshot), media_type="application/json")
