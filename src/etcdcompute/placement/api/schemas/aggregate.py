"""Aggregates: a bare list until 1.18, with the provider's generation since."""

from typing import Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import GENERATION, UUID, Schema, record

_LIST: Final[Schema] = {"type": "array", "items": UUID, "uniqueItems": True}
_PUT_1_1: Final = compile_schema(_LIST)
_PUT_1_19: Final = compile_schema(record({"aggregates": _LIST, "resource_provider_generation": GENERATION}))


def put(version: int) -> Validator:
    """Return the schema of a provider's aggregates."""
    return _PUT_1_19 if version >= 19 else _PUT_1_1
