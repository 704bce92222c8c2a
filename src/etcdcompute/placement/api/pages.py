"""How a refusal is written: JSON, or a page or plain text for those who want these more."""

import html
import json

from starlette.responses import Response

from etcdcompute.placement.api.media import quality
from etcdcompute.placement.api.problems import Problem

_JSON = "application/json"
_HTML = "text/html"


def refusal(problem: Problem, version: int | None, request_id: str, accept: str, headers: dict[str, str]) -> Response:
    """Return the answer that says what is wrong, in the form that the client prefers; `headers` are added."""
    media = _preferred(accept)
    if media == _JSON:
        body = json.dumps(problem.document(version, request_id))
    elif media == _HTML:
        body = _page(problem, request_id)
    else:
        body = f"{problem.status} {problem.title}\n\n{problem.detail}\n\n{request_id}\n"
    return Response(body, problem.status, {**problem.headers, **headers}, media_type=media)


def _preferred(accept: str) -> str:
    if "/" not in accept or accept.strip() == "*/*":
        return _JSON
    as_html, as_json = quality(accept, _HTML), quality(accept, _JSON)
    if as_html == as_json == 0:
        return "text/plain"
    return _HTML if as_html >= as_json else _JSON


def _page(problem: Problem, request_id: str) -> str:
    title = html.escape(f"{problem.status} {problem.title}")
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n"
        f"<body><h1>{title}</h1>\n<p>{html.escape(problem.detail)}</p>\n<p>{html.escape(request_id)}</p></body></html>\n"
    )
