"""What handlers get and give."""

import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import jsonschema_rs

from etcdcompute.placement.api.patterns import as_written, to_python
from etcdcompute.placement.api.problems import Problem

_CACHED_SINCE = 15
_FORMATS = jsonschema.FormatChecker(formats=())

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request after routing and version negotiation. `query` keeps order and repetition; `path_items` the route's."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    body: bytes
    version: int
    path_items: Mapping[str, str]

    @property
    def uuid(self) -> str:
        """The route's {uuid}."""
        return self.path_items["uuid"]

    @property
    def name(self) -> str:
        """The route's {name}."""
        return self.path_items["name"]

    def last(self, key: str) -> str | None:
        """Return a query parameter, the last one where it is repeated."""
        return next((value for name, value in reversed(self.query) if name == key), None)

    def all(self, key: str) -> list[str]:
        """Return all values of a query parameter."""
        return [value for name, value in self.query if name == key]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `document` becomes JSON; `modified` (seconds since the epoch), where set, is shown from 1.15 on.

    `content` is a body that is written out already, of the type `media_type`.
    """

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    modified: float | None = None
    content: bytes | None = None
    media_type: str = "application/json"

    def cached_since(self, version: int) -> float | None:
        """Return what to say in last-modified, None for nothing."""
        return self.modified if version >= _CACHED_SINCE else None


def now() -> float:
    """Return the time of an answer that nobody's change dates."""
    return time.time()


# What uuid.UUID leaves out; it would take more for digits than are ones.
_DRESS = re.compile(r"urn:|uuid:|^\{+|\}+$|-")


@_FORMATS.checks("uuid")
def is_uuid(value: object) -> bool:
    """Whether a value is a uuid: with or without dashes, in braces, as a URN."""
    try:
        return not isinstance(value, str) or uuid.UUID(value).hex == _DRESS.sub("", value).lower()
    except ValueError:
        return False


def normal_uuid(value: str) -> str:
    """Return a uuid with its dashes, in lower case."""
    return str(uuid.UUID(value))


def tidy_uuid(value: str) -> str:
    """Return a uuid with its dashes, in lower case, and anything else as it is: there will be nothing of that name."""
    return normal_uuid(value) if is_uuid(value) else value


class Validator:
    """A schema ready for use.

    Two libraries hold data against the one schema: a fast one, a hundred times so, which lets good data pass, and
    python-jsonschema, which has the last word on all else and whose sentences OpenStack's clients know.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        jsonschema.Draft202012Validator.check_schema(schema)
        self._exact = jsonschema.Draft202012Validator(to_python(dict(schema)), format_checker=_FORMATS)
        self._quick = jsonschema_rs.Draft202012Validator(dict(schema), formats={"uuid": is_uuid}, validate_formats=True)

    def accepts(self, data: Any) -> bool:
        """Whether data fits."""
        return self.find_error(data) is None

    def find_error(self, data: Any) -> jsonschema.ValidationError | None:
        """Return what is wrong with data, the most telling where there is more; None where it fits."""
        try:
            if self._quick.is_valid(data):
                return None
        except (ValueError, TypeError, RecursionError):
            # Not everything that Python takes for JSON is JSON to others: infinite numbers, lone surrogates.
            pass
        error: jsonschema.ValidationError | None = jsonschema.exceptions.best_match(self._exact.iter_errors(data))
        return error


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Return a schema ready for use; made once, at import."""
    return Validator(schema)


def read_body(request: Request, validator: Validator) -> Any:
    """Return the body as parsed JSON that fits the schema; 400 says where it does not."""
    data = parse_json(request.body)
    check(data, validator, "JSON does not validate")
    return data


def parse_json(text: bytes) -> Any:
    """Return what JSON in UTF-8 says; 400 says where it is none."""
    try:
        data = json.loads(text.decode(), parse_float=_number)
        if b"\\u" in text:
            # Half a character can be written down, but is no text: nothing could store or show it.
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"Malformed JSON: {error}") from error
    return data


def _number(text: str) -> int | float:
    """Return 8.0 as 8: to schemas it is a whole number, so it shall be one to everybody else."""
    number = float(text)
    return int(number) if number.is_integer() else number


def parse_query(query: bytes) -> Query:
    """Return the parameters of a query; 400 where it is no text."""
    try:
        return tuple(parse_qsl(query.decode(), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise Problem(400, f"Invalid query string parameters: {error}") from error


def check_query(request: Request, validator: Validator) -> None:
    """Make sure that the query has only known parameters, of the right form."""
    check(dict(request.query), validator, "Invalid query string parameters")


def check(data: Any, validator: Validator, problem: str) -> None:
    """Make sure that data fits a schema; 400 says where it does not."""
    error = validator.find_error(data)
    if error is None:
        return
    rule = "".join(f"[{step!r}]" for step in list(error.relative_schema_path)[:-1])
    where = "".join(f"[{step!r}]" for step in error.absolute_path)
    rules = f"Failed validating {error.validator!r} in schema{rule}"
    raise Problem(400, as_written(f"{problem}: {error.message}\n\n{rules}:\n\nOn instance{where}"))
