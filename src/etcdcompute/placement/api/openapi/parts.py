"""What entries for routes are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from etcdcompute.placement.api.exchange import Validator
from etcdcompute.placement.api.schemas.forms import Schema, record

JSON: Final = "application/json"

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


@dataclass(frozen=True, slots=True)
class Answer:
    """One status that is no refusal: the media types of its body with their schemas (none: no body), its headers."""

    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


def document(schema: Schema, *headers: str) -> Answer:
    """Return an answer that is a JSON document."""
    return Answer({JSON: schema}, headers)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method does on a path, as far as the table of routes does not say it.

    `query` and `body` are what requests are held to. `body_content` is for bodies that are not held to such a schema.
    `refusals` come on top of those that any route has. `items` narrow the path's names.
    """

    answers: Mapping[int, Answer]
    query: Validator | None = None
    body: Validator | None = None
    body_content: Mapping[str, Schema] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    items: Mapping[str, Schema] = field(default_factory=dict)


# The statuses of refusals, and what they mean here.
REFUSALS: Final[Mapping[int, str]] = {
    400: "The request is wrong: the detail says what, and where.",
    401: "No credentials, or wrong ones.",
    403: "The caller may not do that.",
    404: "There is no such thing; or no such route in the version asked for.",
    405: "There is no such method in the version asked for.",
    406: "Not a version that is served, or not a media type that is provided.",
    408: "The request was not whole in time.",
    409: "It conflicts with what is there, or something has changed meanwhile.",
    413: "The body is too long, or asks for more than one transaction takes.",
    414: "The query is too long.",
    415: "Not a media type that is taken.",
    503: "The store does not answer.",
}

REFUSAL: Final = record(
    {
        "errors": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": record(
                {
                    "status": {"type": "integer", "minimum": 400},
                    "title": TEXT,
                    "detail": {"type": "string", "minLength": 1},
                    "request_id": {"type": "string", "pattern": "^req-"},
                    # Left out before versions are negotiated, and by versions older than this document's.
                },
                {"code": {"type": "string", "pattern": r"^placement\."}, "max_version": TEXT, "min_version": TEXT},
            ),
        }
    }
)

HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openstack-api-version": {"description": "The version that the answer is in.", "schema": TEXT},
    "vary": {"description": "What else the answer depends on.", "schema": TEXT},
    "x-openstack-request-id": {"description": "What the log calls this request.", "schema": TEXT},
    "last-modified": {"description": "When what is shown was changed last.", "schema": TEXT},
    "cache-control": {"description": "Whether it may be kept.", "schema": TEXT},
    "location": {"description": "Where to find what was created.", "schema": TEXT},
    "allow": {"description": "The methods that there are.", "schema": TEXT},
    "retry-after": {"description": "After how many seconds to try again.", "schema": TEXT},
}
