"""Resource providers: 1.14 brought parents; the list's filters grew with 1.3, 1.4, 1.14 and 1.18."""

from typing import Any, Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import DASHED_UUID, UUID, record

_NAME: Final = {"type": "string", "maxLength": 200}
_PARENT: Final[dict[str, Any]] = {"anyOf": [UUID, {"type": "null"}]}
_POST_1_0: Final = compile_schema(record({"name": _NAME}, {"uuid": UUID}))
_POST_1_14: Final = compile_schema(record({"name": _NAME}, {"uuid": UUID, "parent_provider_uuid": _PARENT}))
_PUT_1_0: Final = compile_schema(record({"name": _NAME}))
_PUT_1_14: Final = compile_schema(record({"name": _NAME}, {"parent_provider_uuid": _PARENT}))

_TEXT: Final = {"type": "string"}
_FILTERS: Final = (
    (18, {"required": _TEXT}),
    (14, {"in_tree": DASHED_UUID}),
    (4, {"resources": _TEXT}),
    (3, {"member_of": _TEXT}),
    (0, {"name": _TEXT, "uuid": DASHED_UUID}),
)
_LISTS: Final = tuple(
    (
        since,
        compile_schema(
            record({}, {key: form for start, keys in _FILTERS if start <= since for key, form in keys.items()})
        ),
    )
    for since, _ in _FILTERS
)


def post(version: int) -> Validator:
    """Return the schema of a new provider."""
    return _POST_1_14 if version >= 14 else _POST_1_0


def put(version: int) -> Validator:
    """Return the schema of a changed provider."""
    return _PUT_1_14 if version >= 14 else _PUT_1_0


def list_query(version: int) -> Validator:
    """Return the schema of the list's filters."""
    return next(schema for since, schema in _LISTS if version >= since)
