"""Allocation candidates: where a request fits."""

from typing import Any

from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response, now
from etcdcompute.placement.api.problems import problem_of
from etcdcompute.placement.candidates.request import (
    AllocationRequest,
    CandidateRequest,
    Candidates,
    ProviderSummary,
)
from etcdcompute.placement.graph.errors import UnknownResourceClass
from etcdcompute.placement.graph.standard import is_custom
from etcdcompute.placement.graph.store import GraphStore


def find(store: GraphStore, request: Request) -> Response:
    """Say where a request fits."""
    wanted = read_candidate_query(request)
    try:
        candidates = store.find_candidates(wanted)
    except UnknownResourceClass as error:
        raise problem_of(error, "Invalid resource class in resources parameter: ") from error
    return Response(document=_describe(candidates, wanted, request.version), modified=now())


def _describe(candidates: Candidates, wanted: CandidateRequest, version: int) -> dict[str, Any]:
    shown = None if version >= 27 else wanted.resource_classes
    return {
        "allocation_requests": [_describe_request(each, version) for each in candidates.requests],
        "provider_summaries": {each.uuid: _describe_summary(each, shown, version) for each in candidates.summaries},
    }


def _describe_request(candidate: AllocationRequest, version: int) -> dict[str, Any]:
    if version < 12:
        return {
            "allocations": [
                {"resource_provider": {"uuid": uuid}, "resources": resources}
                for uuid, resources in candidate.allocations.items()
            ]
        }
    document: dict[str, Any] = {
        "allocations": {uuid: {"resources": resources} for uuid, resources in candidate.allocations.items()}
    }
    if version >= 34:
        document["mappings"] = candidate.mappings
    return document


def _describe_summary(summary: ProviderSummary, shown: frozenset[str] | None, version: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resources": {
            name: {"capacity": capacity, "used": used}
            for name, (capacity, used) in summary.resources.items()
            if shown is None or name in shown
        }
    }
    if version >= 17:
        document["traits"] = sorted(summary.traits, key=lambda name: (is_custom(name), name))
    if version >= 29:
        document["parent_provider_uuid"] = summary.parent_uuid
        document["root_provider_uuid"] = summary.root_uuid
    return document
