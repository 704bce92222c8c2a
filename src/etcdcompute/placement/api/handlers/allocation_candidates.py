"""Allocation candidates: where a request fits."""

from etcdcompute.placement.api.candidate_document import encode
from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response, now
from etcdcompute.placement.api.problems import problem_of
from etcdcompute.placement.graph.errors import UnknownResourceClass
from etcdcompute.placement.graph.store import GraphStore


def find(store: GraphStore, request: Request) -> Response:
    """Say where a request fits."""
    wanted = read_candidate_query(request)
    try:
        candidates = store.find_candidates(wanted)
    except UnknownResourceClass as error:
        raise problem_of(error, "Invalid resource class in resources parameter: ") from error
    return Response(content=encode(candidates, request.version), modified=now())
