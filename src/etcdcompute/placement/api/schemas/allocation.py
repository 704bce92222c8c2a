"""Allocations: what is sent changed its shape in 1.8, 1.12, 1.28, 1.34 and 1.38."""

from typing import Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import (
    EXTERNAL_ID,
    NAME,
    SUFFIX,
    UUID,
    UUID_KEY,
    Schema,
    mapping,
    record,
)

_RESOURCES: Final = mapping(NAME, {"type": "integer", "minimum": 1}, at_least=1)
_AS_LIST: Final[dict[str, Schema]] = {
    "allocations": {
        "type": "array",
        "minItems": 1,
        "items": record({"resource_provider": record({"uuid": UUID}), "resources": _RESOURCES}),
    }
}
_FROM_ONE: Final = record({"resources": _RESOURCES}, {"generation": {"type": "integer"}})
_OWNER: Final[dict[str, Schema]] = {"project_id": EXTERNAL_ID, "user_id": EXTERNAL_ID}
_GENERATION: Final[dict[str, Schema]] = {"consumer_generation": {"type": ["integer", "null"]}}
_MAPPINGS: Final[dict[str, Schema]] = {
    "mappings": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {SUFFIX: {"type": "array", "minItems": 1, "items": UUID}},
    }
}
_TYPE: Final[dict[str, Schema]] = {"consumer_type": {**EXTERNAL_ID, "pattern": NAME}}


def _as_mapping(*, at_least: int = 0) -> dict[str, Schema]:
    return {"allocations": mapping(UUID_KEY, _FROM_ONE, at_least=at_least)}


ONE_1_28: Final = record({**_as_mapping(), **_OWNER, **_GENERATION})
ONE_1_34: Final = record({**_as_mapping(), **_OWNER, **_GENERATION}, _MAPPINGS)
ONE_1_38: Final = record({**_as_mapping(), **_OWNER, **_GENERATION, **_TYPE}, _MAPPINGS)
_PUTS: Final = tuple(
    (since, compile_schema(schema))
    for since, schema in (
        (38, ONE_1_38),
        (34, ONE_1_34),
        (28, ONE_1_28),
        (12, record({**_as_mapping(at_least=1), **_OWNER})),
        (8, record({**_AS_LIST, **_OWNER})),
        (0, record(_AS_LIST)),
    )
)
_POSTS: Final = tuple(
    (since, compile_schema(mapping(UUID_KEY, schema, at_least=1)))
    for since, schema in (
        (38, ONE_1_38),
        (34, ONE_1_34),
        (28, ONE_1_28),
        (13, record({**_as_mapping(), **_OWNER})),
    )
)


def put(version: int) -> Validator:
    """Return the schema of one consumer's allocations."""
    return next(schema for since, schema in _PUTS if version >= since)


def post(version: int) -> Validator:
    """Return the schema of many consumers' allocations."""
    return next(schema for since, schema in _POSTS if version >= since)
