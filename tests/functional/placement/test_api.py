"""The API over real HTTP, on a graph in memory, in etcd and in Neo4j: nothing may differ."""

import json
import socket
import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import urllib3

from tests.functional.placement.server import PlacementThread

LATEST = 39


class Http:
    """Requests at a version, as any client would send them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.address = url.removeprefix("http://")
        self._pool = urllib3.PoolManager(retries=False)

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        version: int | str = LATEST,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        sent = {"openstack-api-version": f"placement {version if isinstance(version, str) else f'1.{version}'}"}
        if body is not None:
            sent["content-type"] = "application/json"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self._pool.request(method, self._url + path, body=data, headers={**sent, **(headers or {})})

    def get(self, path: str, version: int = LATEST) -> Any:
        answer = self("GET", path, version=version)
        assert answer.status == 200, answer.data
        return answer.json()

    def put(self, path: str, body: object, version: int = LATEST) -> Any:
        answer = self("PUT", path, body, version=version)
        assert answer.status in (200, 201, 204), answer.data
        return answer.json() if answer.data else None

    def refused(
        self, status: int, method: str, path: str, body: object = None, version: int = LATEST
    ) -> dict[str, Any]:
        answer = self(method, path, body, version=version)
        assert answer.status == status, answer.data
        error: dict[str, Any] = answer.json()["errors"][0]
        assert error["status"] == status
        assert error["request_id"] == answer.headers["x-openstack-request-id"]
        return error

    def provider(self, name: str, parent: str | None = None, **inventories: Mapping[str, object]) -> str:
        body = {"name": name, "uuid": str(uuid.uuid4()), "parent_provider_uuid": parent}
        answer = self("POST", "/resource_providers", body)
        assert answer.status == 200, answer.data
        found = str(answer.json()["uuid"])
        if inventories:
            self.put(
                f"/resource_providers/{found}/inventories",
                {"resource_provider_generation": 0, "inventories": inventories},
            )
        return found

    def generation(self, provider: str) -> int:
        return int(self.get(f"/resource_providers/{provider}")["generation"])

    def set_traits(self, provider: str, *traits: str) -> None:
        body = {"resource_provider_generation": self.generation(provider), "traits": traits}
        self.put(f"/resource_providers/{provider}/traits", body)

    def set_aggregates(self, provider: str, *aggregates: str) -> None:
        body = {"resource_provider_generation": self.generation(provider), "aggregates": aggregates}
        self.put(f"/resource_providers/{provider}/aggregates", body)

    def claim(self, provider: str, **resources: int) -> str:
        consumer = str(uuid.uuid4())
        self.put(f"/allocations/{consumer}", claim_of(provider, **resources))
        return consumer


def claim_of(provider: str, generation: int | None = None, **resources: int) -> dict[str, Any]:
    return {
        "allocations": {provider: {"resources": resources}},
        "consumer_generation": generation,
        "project_id": "project",
        "user_id": "user",
        "consumer_type": "INSTANCE",
    }


@pytest.fixture
def http(service: PlacementThread) -> Http:
    return Http(service.url)


def test_versions_are_negotiated(http: Http) -> None:
    home = http("GET", "/", version="latest")
    assert home.headers["openstack-api-version"] == "placement 1.39"
    assert home.headers["vary"] == "openstack-api-version"
    version = home.json()["versions"][0]
    assert (version["min_version"], version["max_version"], version["id"]) == ("1.0", "1.39", "v1.0")
    plain = http("GET", "/", headers={"openstack-api-version": ""})
    assert plain.headers["openstack-api-version"] == "placement 1.0"
    assert "last-modified" not in plain.headers
    several = http("GET", "/", headers={"openstack-api-version": "compute 2.1, placement 1.15"})
    assert several.headers["openstack-api-version"] == "placement 1.15"
    assert several.headers["cache-control"] == "no-cache"
    assert parsedate_to_datetime(several.headers["last-modified"])
    too_new = http("GET", "/", version="1.40")
    assert too_new.status == 406
    error = too_new.json()["errors"][0]
    assert (error["max_version"], error["min_version"]) == ("1.39", "1.0")
    assert http("GET", "/", version="one").status == 400


def test_routes_and_methods_that_are_not_there(http: Http) -> None:
    assert http.refused(404, "GET", "/barnabas")["title"] == "Not Found"
    http.refused(404, "GET", "/resource_providers/")
    assert http("DELETE", "/resource_providers").headers["allow"] == "GET, POST"
    http.refused(404, "POST", "/reshaper", {}, version=29)
    http.refused(404, "GET", "/traits", version=5)
    http.refused(405, "DELETE", f"/resource_providers/{uuid.uuid4()}/inventories", version=4)
    old = http.refused(404, "GET", f"/resource_providers/{uuid.uuid4()}", version=22)
    assert "code" not in old
    assert http.refused(404, "GET", f"/resource_providers/{uuid.uuid4()}")["code"] == "placement.undefined_code"


def test_a_long_query_is_taken_in_however_small_pieces_it_comes(http: Http) -> None:
    host, _, port = http.address.partition(":")
    head = f"GET /resource_providers?name={'x' * 100} HTTP/1.1\r\nhost: {http.address}\r\nx-padding: {'y' * 20_000}\r\n"
    request = f"{head}connection: close\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), 500):
            connection.sendall(request[start : start + 500])
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_bad_bodies_and_queries_say_what_is_wrong(http: Http) -> None:
    assert "Malformed JSON" in http.refused(400, "POST", "/resource_providers", b"{")["detail"]
    assert "'name' is a required property" in http.refused(400, "POST", "/resource_providers", {})["detail"]
    assert "'pony' was unexpected" in http.refused(400, "GET", "/resource_providers?pony=1")["detail"]
    assert "Badly formed resources" in http.refused(400, "GET", "/resource_providers?resources=VCPU")["detail"]
    assert "No such resource class" in http.refused(400, "GET", "/allocation_candidates?resources=CUSTOM_X:1")["detail"]
    assert http("POST", "/resource_providers", b"x", headers={"content-type": "text/plain"}).status == 415
    assert http("GET", "/resource_providers", headers={"accept": "text/plain"}).status == 406
    assert http("GET", "/resource_providers?name=" + "x" * 40_000).status == 414
    http.refused(400, "POST", "/resource_providers", b"\xff\xfe")
    http.refused(400, "POST", "/resource_providers", b"[" * 100_000)


def test_a_tree_of_providers(http: Http) -> None:
    root = http.provider("root")
    child = http.provider("child", root)
    grandchild = http.provider("grandchild", child)
    shown = http.get(f"/resource_providers/{grandchild}")
    assert (shown["parent_provider_uuid"], shown["root_provider_uuid"]) == (child, root)
    assert {link["rel"] for link in shown["links"]} == {
        "self",
        "inventories",
        "usages",
        "aggregates",
        "traits",
        "allocations",
    }
    in_tree = http.get(f"/resource_providers?in_tree={child}")["resource_providers"]
    assert {each["name"] for each in in_tree} == {"root", "child", "grandchild"}
    other = http.provider("other")
    move = {"name": "child", "parent_provider_uuid": other}
    http.refused(400, "PUT", f"/resource_providers/{child}", move, version=36)
    http.put(f"/resource_providers/{child}", move)
    assert http.get(f"/resource_providers/{grandchild}")["root_provider_uuid"] == other
    loop = {"name": "other", "parent_provider_uuid": grandchild}
    assert "loop" in http.refused(400, "PUT", f"/resource_providers/{other}", loop)["detail"]
    refused = http.refused(409, "DELETE", f"/resource_providers/{other}")
    assert refused["code"] == "placement.resource_provider.cannot_delete_parent"
    assert child in refused["detail"]
    taken = {"name": "root", "uuid": str(uuid.uuid4())}
    assert http.refused(409, "POST", "/resource_providers", taken)["code"] == "placement.duplicate_name"
    http.put(f"/resource_providers/{root}", {"name": "renamed"})
    assert http("POST", "/resource_providers", taken).status == 200
    for each in (grandchild, child, other, root):
        assert http("DELETE", f"/resource_providers/{each}").status == 204
    assert len(http.get("/resource_providers")["resource_providers"]) == 1


def test_a_provider_may_be_renamed_to_nothing(http: Http) -> None:
    one, other = http.provider("one"), http.provider("other")
    http.put(f"/resource_providers/{one}", {"name": ""})
    assert http.get(f"/resource_providers/{one}")["name"] == ""
    assert http.refused(409, "PUT", f"/resource_providers/{other}", {"name": ""})["code"] == "placement.duplicate_name"
    http.put(f"/resource_providers/{one}", {"name": "one"})
    http.put(f"/resource_providers/{other}", {"name": ""})


def test_inventories(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 8, "allocation_ratio": 2.5})
    path = f"/resource_providers/{provider}/inventories"
    found = http.get(path)
    assert found["resource_provider_generation"] == 1
    assert found["inventories"]["VCPU"] == {
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2147483647,
        "step_size": 1,
        "allocation_ratio": 2.5,
    }
    stale = {"resource_provider_generation": 0, "inventories": {}}
    assert http.refused(409, "PUT", path, stale)["code"] == "placement.concurrent_update"
    unknown = {"resource_provider_generation": 1, "inventories": {"CUSTOM_PONY": {"total": 1}}}
    assert "No such resource class" in http.refused(400, "PUT", path, unknown)["detail"]
    full = {"resource_provider_generation": 1, "total": 4, "reserved": 4}
    http.refused(400, "PUT", f"{path}/VCPU", full, version=25)
    http.put(f"{path}/VCPU", full)
    assert http("POST", path, {"resource_class": "DISK_GB", "total": 10}).status == 201
    http.refused(409, "POST", path, {"resource_class": "DISK_GB", "total": 10})
    consumer = http.claim(provider, DISK_GB=3)
    in_use = http.refused(409, "DELETE", path)
    assert in_use["code"] == "placement.inventory.inuse"
    assert consumer in in_use["detail"]
    http.refused(404, "GET", f"{path}/MEMORY_MB")
    assert http("DELETE", f"{path}/VCPU").status == 204
    assert http("DELETE", f"/allocations/{consumer}").status == 204
    assert http("DELETE", path).status == 204
    assert http.get(path)["inventories"] == {}


def test_whole_numbers_may_be_written_with_a_point(http: Http) -> None:
    provider = http.provider("host")
    path = f"/resource_providers/{provider}/inventories"
    body = b'{"resource_provider_generation": 0.0, "inventories": {"VCPU": {"total": 8.0, "max_unit": 1e2}}}'
    assert http("PUT", path, body).status == 200
    consumer = str(uuid.uuid4())
    claim = json.dumps(claim_of(provider, VCPU=3)).replace("3}", "3.0}").encode()
    assert http("PUT", f"/allocations/{consumer}", claim).status == 204
    shown = http.get(path)["inventories"]["VCPU"]
    assert [str(shown[key]) for key in ("total", "max_unit", "allocation_ratio")] == ["8", "100", "1.0"]
    assert http("GET", f"/allocations/{consumer}").json()["allocations"][provider]["resources"] == {"VCPU": 3}
    assert b"3.0" not in http("GET", f"/allocations/{consumer}").data
    found = http.get("/allocation_candidates?resources=VCPU:5")["allocation_requests"]
    assert [list(each["allocations"]) for each in found] == [[provider]]
    assert http.get("/allocation_candidates?resources=VCPU:6")["allocation_requests"] == []


def test_traits_and_classes(http: Http) -> None:
    provider = http.provider("host")
    assert http("PUT", "/traits/CUSTOM_FAST").status == 201
    assert http("PUT", "/traits/CUSTOM_FAST").status == 204
    http.refused(400, "PUT", "/traits/FAST")
    http.set_traits(provider, "CUSTOM_FAST", "HW_CPU_X86_VMX")
    assert http.get("/traits?name=startswith:CUSTOM_")["traits"] == ["CUSTOM_FAST"]
    assert set(http.get("/traits?associated=true")["traits"]) == {"CUSTOM_FAST", "HW_CPU_X86_VMX"}
    assert provider in http.refused(409, "DELETE", "/traits/CUSTOM_FAST")["detail"]
    http.refused(400, "DELETE", "/traits/HW_CPU_X86_VMX")
    assert http("DELETE", f"/resource_providers/{provider}/traits").status == 204
    assert http("DELETE", "/traits/CUSTOM_FAST").status == 204
    http.refused(404, "GET", "/traits/CUSTOM_FAST")
    unknown = {"resource_provider_generation": http.generation(provider), "traits": ["CUSTOM_FAST"]}
    http.refused(400, "PUT", f"/resource_providers/{provider}/traits", unknown)
    assert http("PUT", "/resource_classes/CUSTOM_GPU").status == 201
    names = [each["name"] for each in http.get("/resource_classes")["resource_classes"]]
    assert names[0] == "VCPU"
    assert names[-1] == "CUSTOM_GPU"
    gpu = http.provider("gpu", CUSTOM_GPU={"total": 1})
    assert gpu in http.refused(409, "DELETE", "/resource_classes/CUSTOM_GPU")["detail"]
    http("DELETE", f"/resource_providers/{gpu}/inventories")
    assert http("DELETE", "/resource_classes/CUSTOM_GPU").status == 204
    http.refused(400, "DELETE", "/resource_classes/VCPU")


def test_claims_and_their_generations(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 4, "max_unit": 3}, DISK_GB={"total": 100, "step_size": 10})
    consumer = str(uuid.uuid4())
    path = f"/allocations/{consumer}"
    assert http.get(path) == {"allocations": {}}
    assert http.refused(409, "PUT", path, claim_of(provider, 0, VCPU=1))["code"] == "placement.concurrent_update"
    http.put(path, claim_of(provider, VCPU=2, DISK_GB=10))
    found = http.get(path)
    assert found["allocations"][provider]["resources"] == {"VCPU": 2, "DISK_GB": 10}
    assert (found["consumer_generation"], found["consumer_type"]) == (1, "INSTANCE")
    assert "consumer_type" not in http.get(path, 37)
    http.refused(409, "PUT", path, claim_of(provider, VCPU=3))
    http.put(path, claim_of(provider, 1, VCPU=3))
    assert http.get(f"/resource_providers/{provider}/usages")["usages"] == {"VCPU": 3, "DISK_GB": 0}
    for refused in ({"VCPU": 2}, {"DISK_GB": 15}, {"MEMORY_MB": 1}):
        http.refused(409, "PUT", f"/allocations/{uuid.uuid4()}", claim_of(provider, **refused))
    elsewhere = claim_of(str(uuid.uuid4()), VCPU=1)
    assert "does not exist" in http.refused(400, "PUT", f"/allocations/{uuid.uuid4()}", elsewhere)["detail"]
    of_provider = http.get(f"/resource_providers/{provider}/allocations")["allocations"]
    assert of_provider == {consumer: {"resources": {"VCPU": 3}, "consumer_generation": 2}}
    in_use = http.refused(409, "DELETE", f"/resource_providers/{provider}")
    assert in_use["code"] == "placement.resource_provider.inuse"
    assert consumer in in_use["detail"]
    http.put(path, {**claim_of(provider, 2), "allocations": {}})
    http.refused(404, "DELETE", path)


def test_older_clients_claim(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 4})
    consumer = str(uuid.uuid4())
    listed = {"allocations": [{"resource_provider": {"uuid": provider}, "resources": {"VCPU": 1}}]}
    http.put(f"/allocations/{consumer}", listed, version=7)
    http.refused(400, "PUT", f"/allocations/{consumer}", listed, version=8)
    mapped = {"allocations": {provider: {"resources": {"VCPU": 2}}}, "project_id": "p", "user_id": "u"}
    http.put(f"/allocations/{consumer}", mapped, version=12)
    http.put(f"/allocations/{consumer}", {**mapped, "consumer_generation": 2}, version=37)
    found = http.get(f"/allocations/{consumer}")
    assert (found["consumer_generation"], found["consumer_type"]) == (3, "unknown")
    assert http.get(f"/allocations/{consumer}", 11) == {
        "allocations": {provider: {"resources": {"VCPU": 2}, "generation": 4}}
    }


def test_many_claims_are_all_or_none(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 4})
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    both = {one: claim_of(provider, VCPU=3), two: claim_of(provider, VCPU=2)}
    http.refused(409, "POST", "/allocations", both)
    assert http.get(f"/allocations/{one}") == {"allocations": {}}
    both[two] = claim_of(provider, VCPU=1)
    assert http("POST", "/allocations", both).status == 204
    # What one gives up, the other gets, though nothing is free.
    swap = {one: {**claim_of(provider, 1), "allocations": {}}, two: claim_of(provider, 1, VCPU=4)}
    assert http("POST", "/allocations", swap).status == 204
    assert http.get(f"/resource_providers/{provider}/usages")["usages"] == {"VCPU": 4}


def test_an_overfull_provider_may_be_emptied(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 8})
    consumer = http.claim(provider, VCPU=6)
    less = {"resource_provider_generation": 2, "total": 2}
    http.put(f"/resource_providers/{provider}/inventories/VCPU", less)
    http.refused(409, "PUT", f"/allocations/{consumer}", claim_of(provider, 1, VCPU=7))
    http.put(f"/allocations/{consumer}", claim_of(provider, 1, VCPU=4))


def test_usages_of_a_project(http: Http) -> None:
    provider = http.provider("host", VCPU={"total": 8}, DISK_GB={"total": 100})
    http.claim(provider, VCPU=1, DISK_GB=10)
    http.claim(provider, VCPU=2)
    assert http.get("/usages?project_id=project", 9) == {"usages": {"VCPU": 3, "DISK_GB": 10}}
    assert http.get("/usages?project_id=project&user_id=user")["usages"] == {
        "INSTANCE": {"VCPU": 3, "DISK_GB": 10, "consumer_count": 2}
    }
    assert http.get("/usages?project_id=project&consumer_type=unknown")["usages"] == {}
    assert http.get("/usages?project_id=other")["usages"] == {}
    http.refused(400, "GET", "/usages")


def test_candidates_in_a_nested_and_shared_deployment(http: Http) -> None:
    aggregate = str(uuid.uuid4())
    root = http.provider("host", MEMORY_MB={"total": 4096})
    numa = [http.provider(f"numa{number}", root, VCPU={"total": 4}) for number in range(2)]
    http.put("/traits/CUSTOM_FAST", None)
    http.set_traits(numa[1], "CUSTOM_FAST")
    nfs = http.provider("nfs", DISK_GB={"total": 1000})
    http.set_traits(nfs, "MISC_SHARES_VIA_AGGREGATE")
    http.set_aggregates(nfs, aggregate)
    http.set_aggregates(root, aggregate)
    query = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:64,DISK_GB:10"
    found = http.get(query)
    assert {frozenset(each["allocations"]) for each in found["allocation_requests"]} == {
        frozenset({numa[0], root, nfs}),
        frozenset({numa[1], root, nfs}),
    }
    assert set(found["provider_summaries"]) == {root, *numa, nfs}
    assert found["provider_summaries"][numa[0]]["root_provider_uuid"] == root
    assert found["allocation_requests"][0]["mappings"][""]
    assert len(http.get(f"{query}&required=CUSTOM_FAST")["allocation_requests"]) == 1
    assert len(http.get(f"{query}&required=!CUSTOM_FAST")["allocation_requests"]) == 1
    assert len(http.get(f"{query}&limit=1")["allocation_requests"]) == 1
    assert http.get(f"{query}&member_of={uuid.uuid4()}")["allocation_requests"] == []
    assert http.get(query, 28)["allocation_requests"] == []
    granular = "/allocation_candidates?resources1=VCPU:2&resources2=VCPU:2&group_policy="
    assert len(http.get(f"{granular}isolate")["allocation_requests"]) == 2
    assert len(http.get(f"{granular}none")["allocation_requests"]) == 4
    http.refused(400, "GET", "/allocation_candidates?resources1=VCPU:2&resources2=VCPU:2")
    request = found["allocation_requests"][0]
    body = {**claim_of(root), "allocations": request["allocations"], "mappings": request["mappings"]}
    http.put(f"/allocations/{uuid.uuid4()}", body)


def test_filters_of_the_list(http: Http) -> None:
    aggregate = str(uuid.uuid4())
    big = http.provider("big", VCPU={"total": 8})
    small = http.provider("small", VCPU={"total": 2})
    http.set_aggregates(big, aggregate)
    http.set_traits(small, "HW_CPU_X86_VMX")

    def names(query: str) -> set[str]:
        return {each["name"] for each in http.get(f"/resource_providers?{query}")["resource_providers"]}

    assert names("name=big") == {"big"}
    assert names(f"uuid={small}") == {"small"}
    assert names(f"uuid={small}&name=big") == set()
    assert names("resources=VCPU:4") == {"big"}
    assert names(f"member_of={aggregate}") == {"big"}
    assert names(f"member_of=!{aggregate}") == {"small"}
    assert names("required=HW_CPU_X86_VMX") == {"small"}
    assert names("required=!HW_CPU_X86_VMX") == {"big"}
    assert names("required=in:HW_CPU_X86_VMX,HW_CPU_X86_AVX") == {"small"}


def test_a_token_is_asked_for() -> None:
    with PlacementThread("memory://", token="secret") as service:
        http = Http(service.url)
        assert http("GET", "/").status == 200
        assert http("GET", "/healthcheck").status == 200
        assert http("GET", "/resource_providers").status == 401
        assert http("GET", "/resource_providers", headers={"x-auth-token": "wrong"}).status == 401
        assert http("GET", "/resource_providers", headers={"x-auth-token": "secret"}).status == 200
