"""The OpenAPI document: about every route and nothing else, and well formed."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from etcdcompute.placement.api.openapi.document import OPERATIONS, build
from etcdcompute.placement.api.routes import OPEN_PATHS, ROUTES


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build(ROUTES, OPEN_PATHS)


def served() -> set[tuple[str, str]]:
    # The empty path is OpenStack's other spelling of the root, which a document cannot name.
    return {(path, method) for path, methods in ROUTES.items() for method in methods if path}


def test_every_route_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == served()
    assert {(path, method) for path, methods in OPERATIONS.items() for method in methods} == served()


def test_operations_are_told_apart_and_say_what_they_do(document: dict[str, Any]) -> None:
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"].endswith(".") for each in operations)
    for each in operations:
        statuses = [int(status) for status in each["responses"]]
        assert any(status < 400 for status in statuses)
        assert {400, 414, 503} <= set(statuses)


def test_open_paths_ask_for_nothing(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for each in methods.values():
            assert ("401" in each["responses"]) == (path not in OPEN_PATHS)
            assert ({"token": []} in each["security"]) == (path not in OPEN_PATHS)


def nested(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from nested(each)
    elif isinstance(value, list):
        for each in value:
            yield from nested(each)


def test_all_references_lead_somewhere_and_all_schemas_are_schemas(document: dict[str, Any]) -> None:
    for part in nested(document):
        if "$ref" in part:
            found: Any = document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
        if "schema" in part:
            jsonschema.Draft202012Validator.check_schema(part["schema"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
