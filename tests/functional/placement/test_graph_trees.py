"""Whole trees through the API: declared, shown, removed, loaded by the line."""

import copy
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.graph_client import LATEST, GraphClient, host, provider, uuid_of
from tests.functional.placement.server import PlacementProcess, PlacementThread

Pair = tuple[PlacementProcess, PlacementProcess]


@pytest.fixture
def graph(service: PlacementThread) -> GraphClient:
    return GraphClient(service.url)


def generations(tree: dict[str, Any]) -> dict[str, int]:
    found = {tree["name"]: tree["generation"]}
    for child in tree["children"]:
        found |= generations(child)
    return found


def test_a_tree_is_declared_shown_and_removed(graph: GraphClient) -> None:
    wanted = host("host1")
    wanted["traits"] = ["CUSTOM_RACK_1", "COMPUTE_NODE"]
    wanted["aggregates"] = ["AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"]
    outcome = graph.declare(wanted)
    assert len(outcome["created"]) == 3
    assert outcome["created_traits"] == ["CUSTOM_RACK_1"]
    shown = graph.tree("host1")
    assert outcome["tree"] == shown
    assert shown["traits"] == ["COMPUTE_NODE", "CUSTOM_RACK_1"]
    assert [child["name"] for child in shown["children"]] == ["host1_numa0", "host1_numa1"]
    # The standard routes see the same.
    numa = graph.ask("GET", f"/resource_providers/{uuid_of('host1_numa1')}", **LATEST).json()
    assert (numa["parent_provider_uuid"], numa["root_provider_uuid"]) == (uuid_of("host1"), uuid_of("host1"))
    inventories = graph.ask("GET", f"/resource_providers/{uuid_of('host1_numa1')}/inventories", **LATEST).json()
    assert inventories["inventories"]["VCPU"]["total"] == 8
    assert graph.ask("GET", "/traits/CUSTOM_RACK_1", **LATEST).status == 204
    for _ in range(2):
        answer = graph.ask("DELETE", f"/graph/trees/{uuid_of('host1')}")
        assert (answer.status, answer.data) == (204, b"")
    graph.refused(404, "GET", f"/graph/trees/{uuid_of('host1')}")
    assert json.loads(graph.export())["providers"] == []


def test_what_differs_is_changed_and_only_that(graph: GraphClient) -> None:
    graph.declare(host("host1"))
    wanted = host("host1")
    wanted["children"][0]["inventories"]["VCPU"]["total"] = 16
    wanted["children"].pop()
    wanted["children"].append(provider("gpu", inventories={"CUSTOM_GPU": {"total": 2}}))
    outcome = graph.declare(wanted)
    assert outcome["changed"] is True
    assert outcome["created"] == [uuid_of("gpu")]
    assert outcome["updated"] == [uuid_of("host1_numa0")]
    assert outcome["removed"] == [uuid_of("host1_numa1")]
    assert outcome["created_resource_classes"] == ["CUSTOM_GPU"]
    assert generations(graph.tree("host1")) == {"host1": 0, "host1_numa0": 1, "gpu": 0}


def test_the_same_again_changes_nothing(graph: GraphClient) -> None:
    graph.declare(host("host1"))
    graph.claim("host1_numa0", {"VCPU": 2})
    before = graph.export()
    again = graph.declare(host("host1"))
    assert (again["changed"], again["created"], again["updated"], again["removed"]) == (False, [], [], [])
    assert generations(again["tree"]) == {"host1": 0, "host1_numa0": 1, "host1_numa1": 0}
    # What was shown is taken back, generations and all.
    assert graph.declare(graph.tree("host1"))["changed"] is False
    assert graph.load([json.dumps(host("host1")).encode()])[-1]["summary"]["unchanged"] == 1
    assert graph.export() == before


def test_the_same_again_is_no_write_to_etcd(etcd: EtcdServer, pair: Pair) -> None:
    one, two = (GraphClient(process.url) for process in pair)
    one.declare(host("host1"))
    before = etcd.revision()
    assert two.declare(host("host1"))["changed"] is False
    assert one.declare(two.tree("host1"))["changed"] is False
    assert two.load([json.dumps(host("host1")).encode()])[-1]["summary"]["unchanged"] == 1
    assert one.ask("DELETE", f"/graph/trees/{uuid_of('absent')}").status == 204
    assert etcd.revision() == before


def refusals() -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    claimed = host("host1")
    claimed["children"].pop(0)
    yield 409, "placement.resource_provider.inuse", "CONSUMER", claimed
    taken = host("host1")
    taken["children"][1]["name"] = "host2"
    yield 409, "placement.duplicate_name", uuid_of("host2"), taken
    elsewhere = host("host1")
    elsewhere["children"].append(provider("host2_numa0"))
    yield 409, "placement.undefined_code", f"in that of {uuid_of('host2')}", elsewhere
    stale = host("host1")
    stale["children"][0]["generation"] = 0
    yield 409, "placement.concurrent_update", "is at generation 1, but was declared at generation 0", stale
    lost = host("host1")
    lost["children"][0]["inventories"] = {}
    yield 409, "placement.inventory.inuse", "CONSUMER", lost
    unknown = host("host1")
    unknown["children"][1]["traits"] = ["HW_PONY"]
    yield 400, "placement.undefined_code", "HW_PONY", unknown
    for refused in (claimed, taken, elsewhere, stale, lost, unknown):
        # Each of them would change other things as well.
        refused["inventories"] = {"DISK_GB": {"total": 1}}
        refused["traits"] = ["CUSTOM_NEW"]
        refused["children"].append(provider("added"))


@pytest.mark.parametrize("number", range(6))
def test_what_is_refused_changes_nothing(graph: GraphClient, number: int) -> None:
    graph.declare(host("host1"))
    graph.declare(host("host2"))
    consumer = graph.claim("host1_numa0", {"VCPU": 2})
    before = graph.export()
    status, code, sentence, wanted = list(refusals())[number]
    error = graph.refused(status, "PUT", f"/graph/trees/{uuid_of('host1')}", wanted)
    assert error["code"] == code
    assert sentence.replace("CONSUMER", consumer) in error["detail"]
    assert graph.export() == before
    refused, summary = graph.load([json.dumps(wanted).encode()])
    assert (refused["refused"]["status"], refused["refused"]["code"]) == (status, code)
    assert summary["summary"]["refused"] == 1
    assert graph.export() == before


def test_a_tree_that_is_claimed_from_is_not_removed(graph: GraphClient) -> None:
    graph.declare(host("host1"))
    consumer = graph.claim("host1_numa1", {"VCPU": 2})
    error = graph.refused(409, "DELETE", f"/graph/trees/{uuid_of('host1')}")
    assert error["code"] == "placement.resource_provider.inuse"
    assert consumer in error["detail"]
    assert uuid_of("host1_numa1") in error["detail"]
    error = graph.refused(409, "DELETE", f"/graph/trees/{uuid_of('host1_numa1')}")
    assert "is no root" in error["detail"]
    error = graph.refused(409, "GET", f"/graph/trees/{uuid_of('host1_numa1')}")
    assert f"in the tree of {uuid_of('host1')}" in error["detail"]
    graph.release(consumer)
    assert graph.ask("DELETE", f"/graph/trees/{uuid_of('host1')}").status == 204


def test_requests_that_are_none(graph: GraphClient) -> None:
    path = f"/graph/trees/{uuid_of('host1')}"
    assert "by its uuid" in graph.refused(400, "PUT", "/graph/trees/host1", host("host1"))["detail"]
    assert "the path names" in graph.refused(400, "PUT", path, host("host2"))["detail"]
    assert "$.children[0]" in graph.refused(400, "PUT", path, provider("host1", {"uuid": uuid_of("x")}))["detail"]
    assert "'pony' was unexpected" in graph.refused(400, "GET", f"{path}?pony=1")["detail"]
    assert "'svg' is not one of" in graph.refused(400, "GET", "/graph/export?format=svg")["detail"]
    assert graph.refused(405, "POST", path)["status"] == 405
    assert graph.ask("GET", "/graph/trees").headers["allow"] == "POST"
    assert graph.ask("HEAD", "/graph/events").status == 405
    graph.refused(404, "GET", "/graph/ponies")
    # Versions are OpenStack's: whatever is asked for, these routes are the same.
    graph.declare(host("host1"))
    for version in ("placement 1.0", "placement 1.99", "nonsense"):
        answer = graph.ask("GET", path, **{"openstack-api-version": version})
        assert answer.status == 200
        assert "openstack-api-version" not in answer.headers


def test_a_tree_of_more_than_one_transaction_is_declared_in_steps(pair: Pair) -> None:
    one, two = (GraphClient(process.url) for process in pair)
    wanted = provider("big", *(provider(f"device{number:03}") for number in range(150)))
    error = one.refused(413, "PUT", f"/graph/trees/{uuid_of('big')}", wanted)
    assert "some of the children first" in error["detail"]
    assert json.loads(one.export())["providers"] == []
    for count in (40, 80, 120, 150):
        step = {**wanted, "children": wanted["children"][:count]}
        (one, two)[count % 3 // 2].declare(step)
    assert two.declare(wanted)["changed"] is False
    # There is more to compare than a transaction takes, too.
    changed = copy.deepcopy(wanted)
    changed["children"][77]["traits"] = ["HW_NUMA_ROOT"]
    assert one.declare(changed)["updated"] == [uuid_of("device077")]
    error = two.refused(413, "DELETE", f"/graph/trees/{uuid_of('big')}")
    assert "with fewer" in error["detail"]


def test_a_tree_as_deep_as_only_the_standard_routes_make_it(graph: GraphClient) -> None:
    parent = None
    for number in range(1200):
        name = f"level{number}"
        body = {"uuid": uuid_of(name), "name": name, "parent_provider_uuid": parent}
        assert graph.ask("POST", "/resource_providers", body, **LATEST).status == 200
        parent = uuid_of(name)
    root = uuid_of("level0")
    error = graph.refused(409, "GET", f"/graph/trees/{root}")
    assert "1200 providers deep" in error["detail"]
    found = graph.ask("GET", f"/resource_providers?in_tree={parent}", **LATEST).json()["resource_providers"]
    assert {each["root_provider_uuid"] for each in found} == {root}
    renamed = graph.ask("PUT", f"/resource_providers/{root}", {"name": "top"}, **LATEST)
    assert renamed.status == 200


def test_trees_declared_through_two_processes_at_once_exclude_each_other(pair: Pair) -> None:
    clients = [GraphClient(process.url) for process in pair]
    for client in clients:
        client.declare(host("host1"))
    barrier = threading.Barrier(8)

    def declare(number: int) -> None:
        client = clients[number % 2]
        for step in range(10):
            barrier.wait()
            wanted = host("host1")
            # Each has a child of its own: whoever comes last has the only one.
            wanted["children"].append(provider(f"child{number}", inventories={"VCPU": {"total": 1 + step}}))
            client.declare(wanted)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(declare, range(8)))
    found = clients[0].tree("host1")
    assert len(found["children"]) == 3
    assert clients[1].tree("host1") == found
    assert len(json.loads(clients[0].export())["providers"]) == 4


def lines(count: int, prefix: str) -> list[bytes]:
    return [json.dumps(host(f"{prefix}{number}")).encode() + b"\n" for number in range(count)]


def test_a_load_with_bad_lines_in_the_middle(pair: Pair) -> None:
    one, two = (GraphClient(process.url) for process in pair)
    body = lines(700, "host")
    broken = host("host300")
    broken["children"][0]["uuid"] = uuid_of("host1_numa0")
    body[100] = b"nonsense\n"
    body[300] = json.dumps(broken).encode() + b"\n"
    body[500] = b"x" * 2_000_000 + b"\n"
    said = one.load(body)
    assert {(each["refused"]["line"], each["refused"]["status"]) for each in said if "refused" in each} == {
        (101, 400),
        (301, 409),
        (501, 413),
    }
    assert any("progress" in each for each in said)
    summary = said[-1]["summary"]
    assert (summary["created"], summary["refused"], summary["complete"]) == (697, 3, True)
    assert summary["providers"] == {"created": 2091, "updated": 0, "removed": 0}
    assert len(json.loads(two.export())["providers"]) == 2091
    assert two.export() == one.export()
    summary = two.load(body)[-1]["summary"]
    assert (summary["unchanged"], summary["refused"]) == (697, 3)
    one_process, _ = pair
    assert one_process.resident_mib() < 150


def test_progress_of_a_load_arrives_while_it_is_sent(graph: GraphClient) -> None:
    connection = http.client.HTTPConnection(graph.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/graph/trees")
    connection.putheader("content-type", "application/x-ndjson")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()

    def send(data: bytes) -> None:
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    send(b"".join(lines(600, "host")))
    answer = connection.getresponse()
    assert answer.getheader("content-type") == "application/x-ndjson"
    assert json.loads(answer.readline())["progress"]["created"] >= 500
    send(b"".join(lines(5, "late")))
    send(b"")
    *_, summary = (json.loads(line) for line in answer.read().splitlines())
    assert summary["summary"]["created"] == 605
    connection.close()


def test_a_load_of_any_length_takes_little_memory(pair: Pair) -> None:
    process, _ = pair
    graph = GraphClient(process.url)
    graph.load(lines(1, "host"))
    before = process.resident_mib()
    endless = (b"x" * 1_000_000 for _ in range(100))
    said = graph.load(endless)
    assert [each["refused"]["status"] for each in said[:-1]] == [413]
    blank = (b"\n" * 100_000 for _ in range(100))
    assert graph.load(blank)[-1]["summary"]["lines"] == 0
    bad = (b"{}\n" * 10_000 for _ in range(20))
    assert graph.load(bad)[-1]["summary"]["refused"] == 200_000
    assert process.resident_mib() < before + 60


def test_a_load_that_loses_etcd_says_where_to_go_on(etcd: EtcdServer, pair: Pair) -> None:
    one, two = (GraphClient(process.url) for process in pair)
    body = lines(500, "host")

    def sent() -> Iterator[bytes]:
        yield b"".join(body[:200])
        etcd.kill()
        yield b"".join(body[200:])

    summary = one.load(sent())[-1]["summary"]
    assert summary["complete"] is False
    go_on = summary["continue_from_line"]
    assert summary["created"] <= go_on - 1 < 500
    assert f"from line {go_on} on" in summary["reason"]
    etcd.start()
    for process in pair:
        process.wait_for(200)
    assert two.load(body[go_on - 1 :])[-1]["summary"]["complete"] is True
    assert len(json.loads(one.export())["providers"]) == 1500
