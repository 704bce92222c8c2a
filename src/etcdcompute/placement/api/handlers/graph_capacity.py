"""How many more of a request fit."""

import msgspec

from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response
from etcdcompute.placement.api.problems import problem_of
from etcdcompute.placement.graph.errors import UnknownResourceClass
from etcdcompute.placement.graph.store import GraphStore


def count(store: GraphStore, request: Request) -> Response:
    """Count how many more of a request fit, in all and in each tree; `limit` cuts the list of trees."""
    wanted = read_candidate_query(request)
    try:
        capacity = store.compute_capacity(wanted)
    except UnknownResourceClass as error:
        raise problem_of(error, "Invalid resource class in resources parameter: ") from error
    return Response(document=msgspec.to_builtins(capacity))
