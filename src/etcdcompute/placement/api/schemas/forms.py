"""Pieces that several schemas are made of."""

from typing import Any, Final

Schema = dict[str, Any]

UUID_KEY: Final = "^[0-9a-fA-F-]{36}$"
NAME: Final = "^[A-Z0-9_]+$"
CUSTOM_NAME: Final = "^CUSTOM_[A-Z0-9_]+$"
NUMBERED_SUFFIX: Final = "[1-9][0-9]*"
SUFFIX: Final = "[a-zA-Z0-9_-]{1,64}"

UUID: Final[Schema] = {"type": "string", "format": "uuid"}
# The same with its dashes.
DASHED_UUID: Final[Schema] = {**UUID, "minLength": 36, "maxLength": 36}
GENERATION: Final[Schema] = {"type": "integer"}
EXTERNAL_ID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def mapping(key_pattern: str, value: Schema, *, at_least: int = 0) -> Schema:
    """Return the schema of an object with keys of one form and values of one kind."""
    return {
        "type": "object",
        "patternProperties": {key_pattern: value},
        "minProperties": at_least,
        "additionalProperties": False,
    }
