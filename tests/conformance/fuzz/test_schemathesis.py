"""Whatever the OpenAPI document lets one send, and whatever it does not: answers are as documented, and never 5xx."""

import json
import os
from collections import Counter
from typing import Any, Final

import pytest
import schemathesis
import urllib3
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    ensure_resource_availability,
    ignored_auth,
    missing_required_header,
    positive_data_acceptance,
)

from etcdcompute.placement.api.openapi.document import build
from etcdcompute.placement.api.routes import OPEN_PATHS, ROUTES
from tests.conformance.fuzz.conftest import TALLY, deploy
from tests.conformance.fuzz.narrowing import narrow
from tests.functional.placement.server import PlacementProcess

# Per route and kind of data, besides those that schemathesis always tries.
EXAMPLES: Final = int(os.environ.get("EXAMPLES") or 40)
_VERSION: Final = "placement 1.39"
Case = schemathesis.Case[Any]
_DOCUMENT: Final[dict[str, Any]] = json.loads(json.dumps(build(ROUTES, OPEN_PATHS)))
# What is documented does not always make sense to the service (a class that is not there), nor lead to another route
# (older versions, which the header asks for, are documented elsewhere).
_NOT_MEANT: Final = [positive_data_acceptance, ensure_resource_availability, missing_required_header, ignored_auth]


def _config(mode: str, *, coverage: bool) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "generation": {
                "mode": mode,
                "max-examples": EXAMPLES,
                "deterministic": not os.environ.get("EXAMPLES"),
                "with-security-parameters": False,
            },
            "phases": {"coverage": {"enabled": coverage}},
            "parameters": {"header.OpenStack-API-Version": _VERSION},
            "suppress-health-check": ["all"],
        }
    )


@schemathesis.serializer("application/x-ndjson")
def as_lines(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    lines = value if isinstance(value, list) else [value]
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)


# A stream never ends: it has tests of its own.
documented = schemathesis.openapi.from_dict(_DOCUMENT, config=_config("all", coverage=True)).exclude(
    path="/graph/events"
)
narrowed = schemathesis.openapi.from_dict(narrow(_DOCUMENT), config=_config("positive", coverage=False)).exclude(
    path="/graph/events"
)


@documented.parametrize()
def test_anything_is_answered_as_documented(case: Case, on_memory: PlacementProcess) -> None:
    send(case, on_memory, "anything, on memory")


@narrowed.parametrize()
def test_what_makes_sense_is_answered_as_documented(case: Case, on_memory: PlacementProcess) -> None:
    send(case, on_memory, "what makes sense, on memory")


@narrowed.parametrize()
def test_and_on_etcd(case: Case, on_etcd: PlacementProcess) -> None:
    send(case, on_etcd, "what makes sense, on etcd")


@narrowed.parametrize()
def test_and_on_neo4j(case: Case, on_neo4j: PlacementProcess) -> None:
    send(case, on_neo4j, "what makes sense, on neo4j")


@pytest.fixture(autouse=True)
def deployment(request: pytest.FixtureRequest) -> None:
    for name in ("on_memory", "on_etcd", "on_neo4j"):
        if name in request.fixturenames:
            deploy(request.getfixturevalue(name).url)


def send(case: Case, service: PlacementProcess, tally: str) -> None:
    answer = case.call_and_validate(base_url=service.url, excluded_checks=_NOT_MEANT)
    TALLY.setdefault(tally, Counter())[answer.status_code] += 1


def test_the_document_is_the_one_that_is_served(on_memory: PlacementProcess) -> None:
    answer = urllib3.request("GET", f"{on_memory.url}/graph/openapi.json")
    assert answer.status == 200
    assert answer.json() == _DOCUMENT
