"""A query of somebody's own: what may be in the body, and how much of it."""

from typing import Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import Schema, record
from etcdcompute.placement.graph.questions import MOST_CHARACTERS, MOST_ROWS, MOST_TIMEOUT_S

_QUERY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS}
_TIMEOUT: Final[Schema] = {"type": "number", "minimum": 0.1, "maximum": MOST_TIMEOUT_S}
_LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}

POST: Final[Validator] = compile_schema(
    record({"query": _QUERY}, {"parameters": {"type": "object"}, "timeout_s": _TIMEOUT, "limit": _LIMIT})
)
NO_QUERY: Final[Validator] = compile_schema(record({}))
