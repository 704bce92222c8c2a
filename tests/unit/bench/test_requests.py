"""What is loaded, claimed and asked for; and a wrong answer is not taken for a quick one."""

import json
from typing import Any

import pytest

from bench.deployments import DEPLOYMENTS, FLAT_5000, FLAT_20000, NUMA_5000, WIDE_10, Deployment, Provider
from bench.requests import RESOURCES, candidates_target, check_candidates, claim, count_candidates
from bench.wire import BenchError

NUMA = NUMA_5000.trees(0.01)[0]


def body(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


def first_line(request: bytes) -> str:
    return request.partition(b"\r\n")[0].decode()


def candidate(uuids: dict[str, dict[str, int]], mappings: dict[str, list[str]] | None = None) -> dict[str, Any]:
    return {
        "allocations": {uuid: {"resources": resources} for uuid, resources in uuids.items()},
        "mappings": mappings or {"": sorted(uuids)},
    }


def answer(*candidates: dict[str, Any]) -> dict[str, Any]:
    return {
        "allocation_requests": list(candidates),
        "provider_summaries": {uuid: {} for each in candidates for uuid in each["allocations"]},
    }


def everyone(trees: list[Provider]) -> list[Provider]:
    return [provider for tree in trees for provider in (tree, *tree.children)]


def test_the_deployments_are_as_large_as_the_table_says() -> None:
    counts = {each.key: len(everyone(each.trees(1.0))) for each in DEPLOYMENTS}
    assert counts == {"flat-5000": 5_001, "flat-20000": 20_000, "numa-5000": 15_003, "wide-10": 90}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each.key)
def test_every_run_and_side_gets_the_same_providers_and_none_twice(deployment: Deployment) -> None:
    providers = everyone(deployment.trees(0.05))
    assert providers == everyone(deployment.trees(0.05))
    assert len({provider.uuid for provider in providers}) == len({provider.name for provider in providers})
    assert len({provider.uuid for provider in providers}) == len(providers)


def test_a_tree_is_made_from_its_root_down() -> None:
    requests = list(NUMA.requests())
    assert [first_line(request).split()[0] for request in requests] == ["POST", "PUT"] * 3
    made = [body(request) for request in requests[::2]]
    assert [each["uuid"] for each in made] == [NUMA.uuid, *(child.uuid for child in NUMA.children)]
    assert [each.get("parent_provider_uuid") for each in made] == [None, NUMA.uuid, NUMA.uuid]


def test_the_bulk_line_says_the_same_as_the_single_requests() -> None:
    line = NUMA.line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    tree = json.loads(line)
    inventories = [each["inventories"] for each in (tree, *tree["children"])]
    assert inventories == [body(request)["inventories"] for request in list(NUMA.requests())[1::2]]
    assert [each["name"] for each in (tree, *tree["children"])] == [each.name for each in everyone([NUMA])]


def test_the_request_is_the_agreed_one() -> None:
    target = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:256,DISK_GB:10"
    assert candidates_target() == target
    assert candidates_target(limit=10) == f"{target}&limit=10"
    groups = "&resources1=PCI_DEVICE:1&resources2=PCI_DEVICE:1&group_policy=isolate&limit=10"
    assert candidates_target(limit=10, device_groups=2) == target + groups


def test_as_many_candidates_are_expected_as_there_are() -> None:
    def count(deployment: Deployment, trees: int, limit: int | None = None, device_groups: int = 0) -> int:
        return count_candidates(deployment, trees, limit=limit, device_groups=device_groups)

    assert count(FLAT_5000, 5_001) == 5_001
    assert count(FLAT_20000, 20_000, limit=10) == 10
    assert count(NUMA_5000, 5_001) == 20_004
    assert count(WIDE_10, 1, device_groups=4) == 8 * 7 * 6 * 5
    assert count(WIDE_10, 10, limit=10, device_groups=8) == 10


def test_claims_hold_the_request_and_take_turns_on_like_children() -> None:
    chosen = set()
    for number in range(2):
        document = body(claim(NUMA, number))
        totals: dict[str, int] = {}
        for allocation in document["allocations"].values():
            totals |= allocation["resources"]
        assert totals == RESOURCES
        chosen |= set(document["allocations"])
    assert chosen == {provider.uuid for provider in everyone([NUMA])}
    assert first_line(claim(NUMA, 0)) != first_line(claim(NUMA, 1))


def test_a_right_answer_passes() -> None:
    check_candidates(answer(candidate({"a": RESOURCES}), candidate({"b": RESOURCES})), count=2)


def test_candidates_may_differ_in_which_group_takes_which_device_alone() -> None:
    devices = {"a": RESOURCES, "x": {"PCI_DEVICE": 1}, "y": {"PCI_DEVICE": 1}}
    one = candidate(devices, {"": ["a"], "1": ["x"], "2": ["y"]})
    other = candidate(devices, {"": ["a"], "1": ["y"], "2": ["x"]})
    check_candidates(answer(one, other), count=2, device_groups=2)


@pytest.mark.parametrize(
    ("document", "count", "device_groups", "said"),
    [
        (answer(candidate({"a": RESOURCES})), 2, 0, "1 candidates where 2"),
        (answer(candidate({"a": RESOURCES}), candidate({"a": RESOURCES})), 2, 0, "only 1 of 2"),
        (answer(candidate({"a": {**RESOURCES, "VCPU": 2}})), 1, 0, "holds .*'VCPU': 2"),
        (answer(candidate({"a": {"VCPU": 1, "MEMORY_MB": 256}})), 1, 0, "holds"),
        (answer(candidate({"a": RESOURCES, "x": {"PCI_DEVICE": 2}})), 1, 2, "two groups' devices"),
        ({**answer(candidate({"a": RESOURCES})), "provider_summaries": {}}, 1, 0, "provider summaries"),
    ],
)
def test_a_wrong_answer_is_told(document: Any, count: int, device_groups: int, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        check_candidates(document, count=count, device_groups=device_groups)
