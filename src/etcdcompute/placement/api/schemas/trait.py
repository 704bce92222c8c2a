"""Traits."""

from typing import Final

from etcdcompute.placement.api.exchange import compile_schema
from etcdcompute.placement.api.schemas.forms import CUSTOM_NAME, GENERATION, Schema, record

_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}
_TEXT: Final[Schema] = {"type": "string"}

CUSTOM: Final = compile_schema({**_NAME, "pattern": CUSTOM_NAME})
OF_PROVIDER: Final = compile_schema(
    record({"traits": {"type": "array", "items": _NAME}, "resource_provider_generation": GENERATION})
)
LIST_QUERY: Final = compile_schema(record({}, {"name": _TEXT, "associated": _TEXT}))
