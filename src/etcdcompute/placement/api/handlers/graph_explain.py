"""Why a request has the candidates that it has, and none where it has none."""

from typing import Any

from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request, Response
from etcdcompute.placement.api.media import accepts, quality
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.candidates.explain_text import to_text
from etcdcompute.placement.candidates.explanation import (
    Explanation,
    GroupExplanation,
    Miss,
    Nearest,
    Relaxation,
    Sample,
    Stage,
)
from etcdcompute.placement.graph.store import GraphStore

_JSON = "application/json"
_TEXT = "text/plain"


def explain(store: GraphStore, request: Request) -> Response:
    """Explain a request: as JSON, or as text where that is what the client would rather have."""
    accept = request.headers.get("accept", "")
    if not accepts(accept, _JSON) and not accepts(accept, _TEXT):
        raise Problem(406, f"Only {_JSON} and {_TEXT} are provided")
    explanation = store.explain(read_candidate_query(request))
    text = to_text(explanation)
    if quality(accept, _TEXT) > quality(accept, _JSON):
        return Response(content=text.encode(), media_type=f"{_TEXT}; charset=utf-8")
    return Response(document={**_describe(explanation), "text": text})


def _describe(explanation: Explanation) -> dict[str, Any]:
    return {
        "fits": explanation.fits,
        "of": explanation.of,
        "unit": explanation.unit,
        "exact": explanation.exact,
        "groups": [_describe_group(each) for each in explanation.groups],
        "stages": [_describe_stage(each) for each in explanation.stages],
        "relaxations": [_describe_relaxation(each) for each in explanation.relaxations],
    }


def _describe_group(group: GroupExplanation) -> dict[str, Any]:
    return {
        "group": group.suffix,
        "resources": dict(group.resources),
        "wanted": group.wanted,
        "fits": group.fits,
        "of": group.of,
        "unit": group.unit,
        "stages": [_describe_stage(each) for each in group.stages],
        "nearest": [_describe_nearest(each) for each in group.nearest],
    }


def _describe_stage(stage: Stage) -> dict[str, Any]:
    return {
        "group": stage.group,
        "code": stage.code,
        "subject": stage.subject,
        "before": stage.before,
        "after": stage.after,
        "unit": stage.unit,
        "kind": stage.kind,
        "samples": [_describe_sample(each) for each in stage.samples],
    }


def _describe_sample(sample: Sample) -> dict[str, Any]:
    document: dict[str, Any] = {"uuid": sample.provider_uuid, "name": sample.name}
    if sample.requested is not None:
        document["requested"] = sample.requested
        document["used"] = sample.used
        document["capacity"] = sample.capacity
        document["largest_free"] = sample.largest_free
    return document


def _describe_nearest(nearest: Nearest) -> dict[str, Any]:
    return {
        "uuid": nearest.provider_uuid,
        "name": nearest.name,
        "misses": [_describe_miss(each) for each in nearest.misses],
    }


def _describe_miss(miss: Miss) -> dict[str, Any]:
    document: dict[str, Any] = {"code": miss.code, "subject": miss.subject, "uuid": miss.provider_uuid}
    if miss.requested is not None:
        document["requested"] = miss.requested
        document["largest_free"] = miss.largest_free
    return document


def _describe_relaxation(relaxation: Relaxation) -> dict[str, Any]:
    return {
        "group": relaxation.group,
        "parameter": relaxation.parameter,
        "subject": relaxation.subject,
        "fits": relaxation.fits,
    }
