"""Queries for allocation candidates: each version that added a parameter."""

from typing import Any, Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import NUMBERED_SUFFIX, SUFFIX, Schema

_TEXT: Final[Schema] = {"type": "string"}
_LIMIT: Final[dict[str, Schema]] = {"limit": {"type": "string", "pattern": "^[1-9][0-9]*$"}}
_POLICY: Final[dict[str, Schema]] = {"group_policy": {"type": "string", "enum": ["none", "isolate"]}}


def _plain(properties: dict[str, Schema]) -> Validator:
    return compile_schema(
        {"type": "object", "properties": properties, "required": ["resources"], "additionalProperties": False}
    )


def _grouped(suffix: str, names: tuple[str, ...], properties: dict[str, Schema]) -> Validator:
    patterns: dict[str, Any] = {f"^{name}({suffix})?$": _TEXT for name in names}
    return compile_schema(
        {
            "type": "object",
            "properties": {**_LIMIT, **_POLICY, **properties},
            "patternProperties": patterns,
            "additionalProperties": False,
        }
    )


_RESOURCES: Final = {"resources": _TEXT}
_REQUIRED: Final = {"required": _TEXT}
_MEMBER_OF: Final = {"member_of": _TEXT}
_GROUPS: Final = ("resources", "required", "member_of")
_QUERIES: Final = (
    (36, _grouped(SUFFIX, (*_GROUPS, "in_tree"), {"root_required": _TEXT, "same_subtree": _TEXT})),
    (35, _grouped(SUFFIX, (*_GROUPS, "in_tree"), {"root_required": _TEXT})),
    (33, _grouped(SUFFIX, (*_GROUPS, "in_tree"), {})),
    (31, _grouped(NUMBERED_SUFFIX, (*_GROUPS, "in_tree"), {})),
    (25, _grouped(NUMBERED_SUFFIX, _GROUPS, {})),
    (21, _plain({**_RESOURCES, **_LIMIT, **_REQUIRED, **_MEMBER_OF})),
    (17, _plain({**_RESOURCES, **_LIMIT, **_REQUIRED})),
    (16, _plain({**_RESOURCES, **_LIMIT})),
    (10, _plain(_RESOURCES)),
)


def query(version: int) -> Validator:
    """Return the schema of the query."""
    return next(schema for since, schema in _QUERIES if version >= since)
