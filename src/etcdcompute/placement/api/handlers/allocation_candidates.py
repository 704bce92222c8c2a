"""Allocation candidates: where a request fits."""

from etcdcompute.placement.api.candidate_document import encode
from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response, now
from etcdcompute.placement.api.problems import problem_of
from etcdcompute.placement.graph.errors import UnknownResourceClass
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.suspension import offload

# So many take a millisecond to write down; more are written on a thread, that others do not wait.
_MANY = 1000


def find(store: GraphStore, request: Request) -> Response:
    """Say where a request fits."""
    wanted = read_candidate_query(request)
    try:
        candidates = store.find_candidates(wanted)
    except UnknownResourceClass as error:
        raise problem_of(error, "Invalid resource class in resources parameter: ") from error
    many = len(candidates.fillings) + len(candidates.summaries) >= _MANY
    content = offload(encode, candidates, request.version) if many else encode(candidates, request.version)
    return Response(content=content, modified=now())
