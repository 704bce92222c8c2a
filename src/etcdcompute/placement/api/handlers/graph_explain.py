"""Why a request has the candidates that it has, and none where it has none."""

from typing import Final

import msgspec

from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response
from etcdcompute.placement.api.media import accepts, quality
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.insight.explain_text import to_text

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"


def explain(store: GraphStore, request: Request) -> Response:
    """Explain a request: as JSON, or as text where that is what the client would rather have."""
    accept = request.headers.get("accept", "")
    if not accepts(accept, _JSON) and not accepts(accept, _TEXT):
        raise Problem(406, f"Only {_JSON} and {_TEXT} are provided")
    explanation = store.explain(read_candidate_query(request))
    text = to_text(explanation)
    if quality(accept, _TEXT) > quality(accept, _JSON):
        return Response(content=text.encode(), media_type=f"{_TEXT}; charset=utf-8")
    return Response(document={**msgspec.to_builtins(explanation), "text": text})
