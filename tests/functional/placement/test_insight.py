"""Why a request has no candidate, and how many more fit: over HTTP, on a graph in memory, in etcd and in Neo4j."""

import uuid
from typing import Any

import pytest

from etcdcompute.placement.api.openapi.document import build
from etcdcompute.placement.api.routes import OPEN_PATHS, ROUTES
from tests.functional.placement.graph_client import GraphClient, provider
from tests.functional.placement.server import PlacementThread


@pytest.fixture
def graph(service: PlacementThread) -> GraphClient:
    return GraphClient(service.url)


def deploy(graph: GraphClient) -> None:
    for number in range(5):
        graph.declare(provider(f"plain{number}", inventories={"VCPU": {"total": 8 if number < 2 else 4}}))
    for number in range(4):
        fast = provider(f"fast{number}", inventories={"VCPU": {"total": 16}}, traits=["CUSTOM_FAST"])
        graph.declare(fast)
        graph.claim(f"fast{number}", {"VCPU": 16 - 2 * number})


def explain(graph: GraphClient, query: str) -> dict[str, Any]:
    answer = graph.ask("GET", f"/graph/explain?{query}")
    assert answer.status == 200, answer.data
    assert "openstack-api-version" not in answer.headers
    found: dict[str, Any] = answer.json()
    return found


def test_an_explanation_says_what_went_where(graph: GraphClient) -> None:
    deploy(graph)
    found = explain(graph, "resources=VCPU:8&required=CUSTOM_FAST")
    assert (found["fits"], found["of"], found["unit"], found["exact"]) == (0, 9, "providers", True)
    (group,) = found["groups"]
    removing = [each for each in group["stages"] if each["before"] > each["after"]]
    assert [(each["code"], each["before"], each["after"], each["kind"]) for each in removing] == [
        ("missing_trait", 9, 4, "filtered"),
        ("insufficient_capacity", 4, 0, "exhausted"),
    ]
    best = removing[1]["samples"][0]
    assert best["name"] == "fast3"
    assert (best["requested"], best["used"], best["capacity"], best["largest_free"]) == (8, 10, 16, 6)
    near = group["nearest"][0]
    assert near["name"] == "fast3"
    assert [(each["code"], each["requested"], each["largest_free"]) for each in near["misses"]] == [
        ("insufficient_capacity", 8, 6)
    ]
    assert found["relaxations"][0] == {"group": "", "parameter": "required", "subject": "CUSTOM_FAST", "fits": 2}
    text = graph.ask("GET", "/graph/explain?resources=VCPU:8&required=CUSTOM_FAST", accept="text/plain")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.data.decode() == found["text"]
    assert found["text"].splitlines() == [
        '0 of 9 providers fit group "" (VCPU:8, CUSTOM_FAST)',
        "  9 → 4 missing_trait CUSTOM_FAST",
        "  4 → 0 insufficient_capacity VCPU: want 8, largest free 6 (fast3)",
        "without CUSTOM_FAST: 2 would fit",
    ]


def test_names_that_do_not_exist_are_explained_and_not_refused(graph: GraphClient) -> None:
    deploy(graph)
    found = explain(graph, "resources=VCPU:1&required=CUSTOM_NOWHERE")
    assert [each["code"] for each in found["groups"][0]["stages"]] == ["unknown_name"]
    assert found["relaxations"][0]["fits"] == 8
    assert graph.ask("GET", "/graph/explain?resources=VCPU:1", accept="image/png").status == 406
    assert "resources" in graph.refused(400, "GET", "/graph/explain?resources=VCPU")["detail"]


def test_capacity_goes_down_as_claims_come(graph: GraphClient) -> None:
    deploy(graph)
    query = "/graph/capacity?resources=VCPU:2&limit=3"
    before = graph.ask("GET", query).json()
    assert (before["total"], before["at_most"], before["exact"]) == (20, 20, True)
    assert [(each["name"], each["count"]) for each in before["roots"]] == [("plain0", 4), ("plain1", 4), ("fast3", 3)]
    graph.claim("plain0", {"VCPU": 3})
    after = graph.ask("GET", query).json()
    assert after["total"] == 18
    assert [each["name"] for each in after["roots"]] == ["plain1", "fast3", "fast2"]
    assert "No such resource class" in graph.refused(400, "GET", "/graph/capacity?resources=CUSTOM_NO:1")["detail"]


def test_the_openapi_document_is_for_everybody() -> None:
    with PlacementThread("memory://", token="secret") as service:
        graph = GraphClient(service.url)
        answer = graph.ask("GET", "/graph/openapi.json")
        assert answer.status == 200
        document = answer.json()
        assert document["openapi"] == "3.1.0"
        assert document["paths"].keys() == build(ROUTES, OPEN_PATHS)["paths"].keys()
        for path in ("/graph/explain", "/graph/capacity"):
            assert graph.ask("GET", f"{path}?resources=VCPU:1").status == 401
            assert graph.ask("GET", f"{path}?resources={uuid.uuid4()}", **{"x-auth-token": "secret"}).status == 400
