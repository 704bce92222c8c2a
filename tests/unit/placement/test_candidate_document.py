"""What clients of each version are told about candidates: by example, and on random deployments."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdcompute.placement.api.candidate_document import encode
from etcdcompute.placement.candidates.request import AllocationRequest, CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import Inventory
from tests.unit.placement.deployment import Host, graph_of
from tests.unit.placement.test_candidates import cases


def told(graph: Graph, request: CandidateRequest, version: int) -> Any:
    return json.loads(encode(find_candidates(graph, replace(request, nested=version >= 29)), version))


HOST = [
    Host(
        "host",
        inventories={"DISK_GB": Inventory(100, reserved=10), "CUSTOM_X": Inventory(1)},
        traits=frozenset({"CUSTOM_A", "STORAGE_DISK_SSD"}),
    ),
    Host("numa", "host", {"VCPU": Inventory(4, allocation_ratio=2.0)}, used={"VCPU": 3}),
]


@pytest.mark.parametrize(
    ("version", "allocations"),
    [
        (10, [{"resource_provider": {"uuid": "host"}, "resources": {"DISK_GB": 5, "CUSTOM_X": 1}}]),
        (11, [{"resource_provider": {"uuid": "host"}, "resources": {"DISK_GB": 5, "CUSTOM_X": 1}}]),
        (12, {"host": {"resources": {"DISK_GB": 5, "CUSTOM_X": 1}}}),
        (39, {"host": {"resources": {"DISK_GB": 5, "CUSTOM_X": 1}}}),
    ],
)
def test_allocations_are_a_list_up_to_1_11(version: int, allocations: Any) -> None:
    request = CandidateRequest((RequestGroup(resources={"DISK_GB": 5, "CUSTOM_X": 1}),))
    [candidate] = told(graph_of(*HOST), request, version)["allocation_requests"]
    assert candidate["allocations"] == allocations
    assert candidate.get("mappings") == ({"": ["host"]} if version >= 34 else None)


@pytest.mark.parametrize(
    ("version", "summary"),
    [
        (16, {"resources": {"DISK_GB": {"capacity": 90, "used": 0}}}),
        (
            17,
            {
                "resources": {"DISK_GB": {"capacity": 90, "used": 0}},
                "traits": ["STORAGE_DISK_SSD", "CUSTOM_A"],
            },
        ),
        (
            27,
            {
                "resources": {"DISK_GB": {"capacity": 90, "used": 0}, "CUSTOM_X": {"capacity": 1, "used": 0}},
                "traits": ["STORAGE_DISK_SSD", "CUSTOM_A"],
            },
        ),
        (
            29,
            {
                "resources": {"DISK_GB": {"capacity": 90, "used": 0}, "CUSTOM_X": {"capacity": 1, "used": 0}},
                "traits": ["STORAGE_DISK_SSD", "CUSTOM_A"],
                "parent_provider_uuid": None,
                "root_provider_uuid": "host",
            },
        ),
    ],
)
def test_what_a_summary_says(version: int, summary: Any) -> None:
    document = told(graph_of(*HOST), CandidateRequest((RequestGroup(resources={"DISK_GB": 5}),)), version)
    assert document["provider_summaries"].pop("host") == summary
    if version < 29:
        assert not document["provider_summaries"]
    else:
        assert document["provider_summaries"] == {
            "numa": {
                "resources": {"VCPU": {"capacity": 8, "used": 3}},
                "traits": [],
                "parent_provider_uuid": "host",
                "root_provider_uuid": "host",
            }
        }


def test_no_candidates_are_an_answer_too() -> None:
    document = told(graph_of(*HOST), CandidateRequest((RequestGroup(resources={"VCPU": 100}),)), 39)
    assert document == {"allocation_requests": [], "provider_summaries": {}}


def test_mappings_name_each_group() -> None:
    request = CandidateRequest(
        (
            RequestGroup(resources={"DISK_GB": 5, "VCPU": 1}),
            RequestGroup("_a-B", {"VCPU": 2}),
            RequestGroup("_top", {}, required_traits=(frozenset({"CUSTOM_A"}),)),
        ),
        same_subtrees=(frozenset({"_a-B", "_top"}),),
    )
    assert told(graph_of(*HOST), request, 39)["allocation_requests"] == [
        {
            "allocations": {"host": {"resources": {"DISK_GB": 5}}, "numa": {"resources": {"VCPU": 3}}},
            "mappings": {"": ["host", "numa"], "_a-B": ["numa"], "_top": ["host"]},
        }
    ]


def test_many_groups_are_told_as_few_are() -> None:
    devices = [Host(f"device{number}", "host", {"VGPU": Inventory(1 + number % 2)}) for number in range(9)]
    graph = graph_of(Host("host"), *devices)
    groups = tuple(RequestGroup(str(number), {"VGPU": 1}) for number in range(10))
    request = CandidateRequest(groups, limit=50)
    requests = told(graph, request, 39)["allocation_requests"]
    assert len(requests) == 50
    assert requests == [expected_request(each, 39) for each in find_candidates(graph, request).requests]


@pytest.mark.parametrize("version", [16, 17, 39])
@pytest.mark.parametrize("count", [1, 100, 101, 250])
def test_as_many_as_there_are_are_told(count: int, version: int) -> None:
    graph = graph_of(*[Host(f"host{number}", inventories={"VCPU": Inventory(4)}) for number in range(count)])
    request = CandidateRequest((RequestGroup(resources={"VCPU": 1}),))
    document = told(graph, request, version)
    assert len(document["allocation_requests"]) == count
    assert document["provider_summaries"] == {
        node.uuid: expected_summary(node, request, version) for node in graph.all_nodes()
    }


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.integers(10, 39))
def test_each_version_is_told_what_it_knows(case: tuple[list[Host], CandidateRequest], version: int) -> None:
    hosts, request = case
    request = replace(request, nested=version >= 29)
    graph = graph_of(*hosts)
    requests = find_candidates(graph, request).requests
    document = told(graph, request, version)
    # What was kept from the first time.
    assert told(graph, request, version) == document
    assert [canonical(each) for each in document.pop("allocation_requests")] == [
        canonical(expected_request(each, version)) for each in requests
    ]
    nodes = [graph.providers[uuid] for each in requests for uuid in each.allocations]
    if request.nested:
        nodes = [member for node in nodes for member in node.root.tree()]
    assert document == {"provider_summaries": {node.uuid: expected_summary(node, request, version) for node in nodes}}


def canonical(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate with the lists whose order means nothing in order."""
    ordered = dict(candidate)
    if isinstance(candidate["allocations"], list):
        ordered["allocations"] = sorted(candidate["allocations"], key=lambda each: str(each["resource_provider"]))
    if "mappings" in candidate:
        ordered["mappings"] = {suffix: sorted(uuids) for suffix, uuids in candidate["mappings"].items()}
    return ordered


def expected_request(candidate: AllocationRequest, version: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if version < 12:
        document["allocations"] = [
            {"resource_provider": {"uuid": uuid}, "resources": dict(resources)}
            for uuid, resources in candidate.allocations.items()
        ]
    else:
        document["allocations"] = {
            uuid: {"resources": dict(resources)} for uuid, resources in candidate.allocations.items()
        }
    if version >= 34:
        document["mappings"] = {suffix: list(uuids) for suffix, uuids in candidate.mappings.items()}
    return document


def expected_summary(node: Node, request: CandidateRequest, version: int) -> dict[str, Any]:
    asked = {name for group in request.groups for name in group.resources}
    document: dict[str, Any] = {
        "resources": {
            name: {"capacity": inventory.capacity, "used": node.used.get(name, 0)}
            for name, inventory in node.inventories.items()
            if version >= 27 or name in asked
        }
    }
    if version >= 17:
        document["traits"] = sorted(node.traits, key=lambda name: (name.startswith("CUSTOM_"), name))
    if version >= 29:
        document["parent_provider_uuid"] = node.parent.uuid if node.parent else None
        document["root_provider_uuid"] = node.root.uuid
    return document
