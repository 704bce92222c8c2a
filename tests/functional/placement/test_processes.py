"""Several processes over one etcd: what each does is what all see, whatever is killed."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from etcdcompute.errors import EtcdComputeError, NotFound, OutcomeUnknown, Unavailable
from etcdcompute.placement.client import GenerationConflict, Inventory, NoCapacity, PlacementClient
from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.conftest import graph_of
from tests.functional.placement.server import PlacementProcess

NEW = {"openstack-api-version": "placement latest"}
Pair = tuple[PlacementProcess, PlacementProcess]


def make_provider(client: PlacementClient, name: str, **inventories: Inventory) -> str:
    provider = client.ensure_resource_provider(str(uuid.uuid4()), name)
    client.set_inventories(provider.uuid, inventories, provider.generation)
    return provider.uuid


def claim_one(client: PlacementClient, provider: str, consumer: str) -> None:
    client.claim(consumer, {provider: {"VCPU": 1}}, consumer_generation=None, project_id="project", user_id="user")


def export(client: PlacementClient, consumers: list[str]) -> dict[str, Any]:
    """Everything that the API tells about the graph."""
    return {
        "providers": client.list_resource_providers(),
        "details": {
            each.uuid: (
                client.get_inventories(each.uuid),
                client.get_traits(each.uuid),
                client.get_aggregates(each.uuid),
                client.get_usages(each.uuid),
                client.get_provider_allocations(each.uuid),
            )
            for each in client.list_resource_providers()
        },
        "consumers": {each: client.get_allocations(each) for each in consumers},
    }


def test_claimers_fill_a_provider_exactly(pair: Pair) -> None:
    clients = [process.client() for process in pair]
    provider = make_provider(clients[0], "full", VCPU=Inventory(20, allocation_ratio=2.0))

    def claim_until_full(number: int) -> list[str]:
        client = clients[number % 2]
        mine: list[str] = []
        while True:
            consumer = str(uuid.uuid4())
            try:
                claim_one(client, provider, consumer)
            except NoCapacity:
                return mine
            mine.append(consumer)

    with ThreadPoolExecutor(16) as pool:
        claimed = [consumer for mine in pool.map(claim_until_full, range(16)) for consumer in mine]

    assert len(claimed) == 40
    for client in clients:
        assert client.get_usages(provider).usages == {"VCPU": 40}
        assert set(client.get_provider_allocations(provider).allocations) == set(claimed)
    assert {clients[1].get_allocations(consumer).consumer_generation for consumer in claimed} == {1}


def test_a_killed_process_loses_nothing_it_promised(pair: Pair) -> None:
    survivor, victim = pair
    provider = make_provider(survivor.client(), "battlefield", VCPU=Inventory(60))
    killed = threading.Event()
    promised: list[str] = []
    unknown: list[str] = []
    lock = threading.Lock()

    def claim_until_full(number: int) -> None:
        client = (survivor if number % 2 else victim).client()
        while True:
            consumer = str(uuid.uuid4())
            try:
                claim_one(client, provider, consumer)
            except NoCapacity:
                return
            except OutcomeUnknown:
                with lock:
                    unknown.append(consumer)
            except Unavailable:
                if killed.is_set():
                    return
            else:
                with lock:
                    promised.append(consumer)
                    if len(promised) == 20:
                        victim.kill()
                        killed.set()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claim_until_full, range(8)))

    assert killed.is_set()
    there = set(survivor.client().get_provider_allocations(provider).allocations)
    assert set(promised) <= there
    assert there <= set(promised) | set(unknown)
    assert survivor.client().get_usages(provider).usages == {"VCPU": 60}
    victim.start()
    assert set(victim.client().get_provider_allocations(provider).allocations) == there


def test_a_read_sees_every_write_through_the_other_process(pair: Pair) -> None:
    writer, reader = (process.client() for process in pair)
    for number in range(25):
        provider = make_provider(writer, f"host{number}", VCPU=Inventory(4))
        assert reader.get_inventories(provider).inventories["VCPU"].total == 4
        consumer = str(uuid.uuid4())
        claim_one(writer, provider, consumer)
        assert reader.get_usages(provider).usages == {"VCPU": 1}
        found = reader.get_allocation_candidates({"VCPU": 4}, limit=1000)
        assert provider not in {uuid for request in found.requests for uuid in request.allocations}
        reader.release(consumer)
        assert writer.get_allocations(consumer).allocations == {}
        reader.delete_resource_provider(provider)
        with pytest.raises(NotFound):
            writer.get_resource_provider(provider)


def test_writes_through_both_processes_exclude_each_other(pair: Pair) -> None:
    one, two = (process.client() for process in pair)
    provider = make_provider(one, "contended", VCPU=Inventory(4))
    generation = two.get_inventories(provider).generation
    one.set_traits(provider, ["HW_CPU_X86_VMX"], generation)
    with pytest.raises(GenerationConflict):
        two.set_inventories(provider, {"VCPU": Inventory(8)}, generation)
    consumer = str(uuid.uuid4())
    claim_one(one, provider, consumer)
    with pytest.raises(GenerationConflict):
        claim_one(two, provider, consumer)


def test_names_are_unique_across_processes(pair: Pair) -> None:
    clients = [process.client() for process in pair]
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        try:
            clients[number % 2].ensure_resource_provider(str(uuid.uuid4()), "the one")
        except EtcdComputeError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
    assert len(clients[0].list_resource_providers()) == 1


def test_a_restart_gives_the_same_graph(pair: Pair) -> None:
    one, two = pair
    client = one.client()
    root = make_provider(client, "root", DISK_GB=Inventory(100, reserved=3))
    for number in range(2):
        numa = client.ensure_resource_provider(str(uuid.uuid4()), f"numa{number}", root)
        inventories = {"VCPU": Inventory(8, max_unit=6), "MEMORY_MB": Inventory(4096, step_size=2)}
        generation = client.set_inventories(numa.uuid, inventories, numa.generation).generation
        client.create_trait("CUSTOM_FAST")
        generation = client.set_traits(numa.uuid, ["CUSTOM_FAST", "HW_CPU_X86_AVX"], generation).generation
        client.set_aggregates(numa.uuid, [str(uuid.uuid4())], generation)
    consumers = []
    for request in client.get_allocation_candidates({"VCPU": 2, "DISK_GB": 5}).requests:
        consumers.append(str(uuid.uuid4()))
        client.claim(consumers[-1], request.allocations, consumer_generation=None, project_id="project", user_id="user")
    before = export(client, consumers)
    assert export(two.client(), consumers) == before
    assert one.terminate() == 0
    one.start()
    assert export(one.client(), consumers) == before
    for number, each in enumerate((one, two)):
        urllib3.request("PUT", f"{one.url}/traits/CUSTOM_{number}", headers=NEW, retries=False)
        assert urllib3.request("DELETE", f"{each.url}/traits/CUSTOM_{number}", headers=NEW, retries=False).status == 204
    one.terminate()
    one.start()
    urllib3.request("PUT", f"{two.url}/traits/CUSTOM_LAST", headers=NEW, retries=False)
    one.terminate()
    one.start()
    assert urllib3.request("DELETE", f"{one.url}/traits/CUSTOM_LAST", headers=NEW, retries=False).status == 204


def test_an_outage_of_etcd_is_told_and_survived(etcd: EtcdServer, pair: Pair) -> None:
    clients = [process.client(timeout_s=15) for process in pair]
    provider = make_provider(clients[0], "patient", VCPU=Inventory(4))
    etcd.kill()
    for process, client in zip(pair, clients, strict=True):
        health = process.wait_for(503)
        assert health["status"] == "unavailable"
        assert "etcd" in health["dependencies"]["store"]
        with pytest.raises(Unavailable):
            client.get_resource_provider(provider)
        with pytest.raises((Unavailable, OutcomeUnknown)):
            claim_one(client, provider, str(uuid.uuid4()))
    etcd.start()
    for process, client in zip(pair, clients, strict=True):
        process.wait_for(200)
        assert client.get_resource_provider(provider).name == "patient"
        claim_one(client, provider, str(uuid.uuid4()))


def test_claims_across_a_restart_of_etcd(etcd: EtcdServer, pair: Pair) -> None:
    clients = [process.client(timeout_s=15) for process in pair]
    provider = make_provider(clients[0], "restless", VCPU=Inventory(100000))
    done = threading.Event()
    promised: list[list[str]] = [[], [], [], []]
    possible: list[list[str]] = [[], [], [], []]

    def claim_on(number: int) -> None:
        while not done.is_set():
            consumer = str(uuid.uuid4())
            try:
                claim_one(clients[number % 2], provider, consumer)
            except OutcomeUnknown:
                possible[number].append(consumer)
            except Unavailable:
                pass
            else:
                promised[number].append(consumer)

    def progress(count: int) -> Callable[[], bool]:
        before = [len(each) for each in promised]
        return lambda: all(len(now) >= then + count for now, then in zip(promised, before, strict=True))

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(claim_on, number) for number in range(4)]
        try:
            wait_until(progress(5))
            etcd.restart(kill=True)
            wait_until(progress(5))
            etcd.compact()
            wait_until(progress(5))
        finally:
            done.set()
        for future in futures:
            future.result()
    sure = {consumer for each in promised for consumer in each}
    maybe = {consumer for each in possible for consumer in each}
    for client in clients:
        there = set(client.get_provider_allocations(provider).allocations)
        assert sure <= there <= sure | maybe
        assert client.get_usages(provider).usages == {"VCPU": len(there)}


def test_it_starts_without_etcd(etcd: EtcdServer, tmp_path: Path) -> None:
    etcd.stop()
    process = PlacementProcess(graph_of(etcd), tmp_path / "early.log")
    process.start(healthy=False)
    try:
        process.wait_for(503)
        versions = urllib3.request("GET", f"{process.url}/", retries=False)
        assert versions.json()["versions"][0]["max_version"] == "1.39"
        etcd.start()
        process.wait_for(200)
        make_provider(process.client(), "late", VCPU=Inventory(1))
    finally:
        assert process.terminate() == 0


def test_it_stops_at_once_and_is_small(pair: Pair) -> None:
    one, two = pair
    client = one.client()
    make_provider(client, "anything", VCPU=Inventory(1))
    client.get_allocation_candidates({"VCPU": 1})
    assert one.resident_mib() < 100
    begun = time.monotonic()
    assert one.terminate() == 0
    assert time.monotonic() - begun < 2
    assert two.client().list_resource_providers()


def test_more_than_one_transaction_can_hold_is_refused_whole(pair: Pair) -> None:
    client = pair[0].client()
    provider = make_provider(client, "popular", VCPU=Inventory(1000))
    claim = {
        "allocations": {provider: {"resources": {"VCPU": 1}}},
        "consumer_generation": None,
        "project_id": "project",
        "user_id": "user",
        "consumer_type": "INSTANCE",
    }
    many = {str(uuid.uuid4()): claim for _ in range(200)}
    answer = urllib3.request("POST", f"{pair[0].url}/allocations", json=many, headers=NEW, retries=False)
    assert answer.status == 413, answer.data
    assert client.get_usages(provider).usages == {"VCPU": 0}
    few = dict(list(many.items())[:100])
    answer = urllib3.request("POST", f"{pair[1].url}/allocations", json=few, headers=NEW, retries=False)
    assert answer.status == 204, answer.data
    assert client.get_usages(provider).usages == {"VCPU": 100}


def test_what_cannot_be_read_is_told_and_left_alone(etcd: EtcdServer, pair: Pair) -> None:
    client = pair[0].client()
    provider = make_provider(client, "healthy", VCPU=Inventory(1))
    key = f"/etcdcompute/v1/placement/providers/{uuid.uuid4()}"
    etcd.put(key, "{not json")
    # The next change of anybody's comes behind the broken document.
    client.create_trait("CUSTOM_LATER")
    for process in pair:
        health = process.wait_for(503)
        assert key in health["dependencies"]["store"]
    assert client.get_resource_provider(provider).name == "healthy"
    claim_one(client, provider, str(uuid.uuid4()))
    etcd.delete(key)
    client.create_trait("CUSTOM_LATER_STILL")
    for process in pair:
        process.wait_for(200)


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
