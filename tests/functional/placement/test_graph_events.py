"""The stream of changes and the export: of several processes over one etcd, and of one that ends or starts again."""

import contextlib
import json
import random
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.functional.etcd_server import EtcdServer
from tests.functional.placement.conftest import graph_of
from tests.functional.placement.graph_client import (
    LATEST,
    Event,
    GraphClient,
    Replica,
    host,
    provider,
    uuid_of,
)
from tests.functional.placement.server import PlacementProcess, PlacementThread

Pair = tuple[PlacementProcess, PlacementProcess]


@pytest.fixture
def graph(service: PlacementThread) -> GraphClient:
    return GraphClient(service.url)


def clients_of(pair: Pair) -> tuple[GraphClient, GraphClient]:
    return GraphClient(pair[0].url), GraphClient(pair[1].url)


def revision(graph: GraphClient) -> int:
    return int(json.loads(graph.export())["revision"])


@contextlib.contextmanager
def following(graph: GraphClient) -> Iterator[Replica]:
    """Follow in a thread of its own; the service ends before this does."""
    replica = Replica(graph)
    thread = threading.Thread(target=replica.follow)
    thread.start()
    try:
        yield replica
    finally:
        thread.join(30)
        assert not thread.is_alive()


def write_at_random(graph: GraphClient, seed: int, steps: int) -> None:
    """Do this and that; refusals are as good as anything."""
    chance = random.Random(seed)
    for _ in range(steps):
        name = f"host{chance.randrange(4)}"
        match chance.randrange(6):
            case 0 | 1:
                wanted = host(name)
                wanted["traits"] = chance.sample(["CUSTOM_A", "CUSTOM_B", "HW_NUMA_ROOT"], chance.randint(0, 2))
                wanted["children"] = chance.sample(wanted["children"], chance.randint(0, 2))
                graph.ask("PUT", f"/graph/trees/{uuid_of(name)}", wanted)
            case 2:
                graph.ask("DELETE", f"/graph/trees/{uuid_of(name)}")
            case 3 | 4:
                allocations = {uuid_of(f"{name}_numa{chance.randrange(2)}"): {"resources": {"VCPU": 1}}}
                claim = {"allocations": allocations, "project_id": "p", "user_id": "u"}
                path = f"/allocations/{uuid_of(f'consumer{chance.randrange(5)}')}"
                graph.ask("PUT", path, claim, **{"openstack-api-version": "placement 1.12"})
            case 5:
                graph.ask("DELETE", f"/allocations/{uuid_of(f'consumer{chance.randrange(5)}')}", **LATEST)


def test_who_writes_through_one_process_is_heard_of_through_the_other(pair: Pair) -> None:
    writer, reader = clients_of(pair)
    with reader.events() as stream:
        start = stream.next()
        assert start is not None
        assert (start.name, start.data) == ("start", {"revision": start.id})
        writer.declare(host("host1"))
        created = stream.next()
        consumer = writer.claim("host1_numa0", {"VCPU": 2})
        claimed = stream.next()
        writer.release(consumer)
        released = stream.next()
        writer.declare({**host("host1"), "children": []})
        changed = stream.next()
        assert created is not None
        assert claimed is not None
        assert released is not None
        assert changed is not None
        assert {each["name"] for each in created.data["providers"]["created"]} == {
            "host1",
            "host1_numa0",
            "host1_numa1",
        }
        assert claimed.data["providers"] == {"changed": [{"uuid": uuid_of("host1_numa0"), "generation": 1}]}
        assert claimed.data["consumers"]["created"][0]["allocations"] == {uuid_of("host1_numa0"): {"VCPU": 2}}
        assert released.data["consumers"] == {"removed": [consumer]}
        assert set(changed.data["providers"]["removed"]) == {uuid_of("host1_numa0"), uuid_of("host1_numa1")}
        ids = [start.id, created.id, claimed.id, released.id, changed.id]
        assert ids == sorted(set(ids))
    # The same again, for who was away.
    with reader.events(created.id) as stream:
        assert [stream.next(), stream.next(), stream.next()] == [claimed, released, changed]
    with reader.events(0, {"last-event-id": str(released.id)}) as stream:
        assert stream.next() == changed


def test_an_export_and_what_happens_after_it_are_the_graph(pair: Pair) -> None:
    one, two = clients_of(pair)
    one.declare(host("host1"))
    with following(one) as here, following(two) as there:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda seed: write_at_random((one, two)[seed % 2], seed, 40), range(4)))
        exports = [one.export(), two.export()]
        assert exports[0] == exports[1]
        now = json.loads(exports[0])
        for replica in (here, there):
            replica.wait_for(now["revision"])
            assert replica.export() == now
            assert replica.resets == 0
        for process in pair:
            assert process.terminate() == 0


def test_exports_under_way_are_of_one_revision(pair: Pair) -> None:
    """Whatever is written meanwhile, both processes have the same to say of the same revision."""
    one, two = clients_of(pair)
    exports: dict[int, set[bytes]] = {}
    lock = threading.Lock()
    done = threading.Event()

    def watch(graph: GraphClient) -> None:
        while not done.is_set():
            exported = graph.export()
            with lock:
                exports.setdefault(json.loads(exported)["revision"], set()).add(exported)

    with ThreadPoolExecutor(6) as pool:
        watchers = [pool.submit(watch, GraphClient(process.url)) for process in pair]
        writers = [pool.submit(write_at_random, (one, two)[seed % 2], seed, 40) for seed in range(4)]
        for each in writers:
            each.result()
        done.set()
        for each in watchers:
            each.result()
    assert len(exports) > 3
    assert {len(found) for found in exports.values()} == {1}


def test_a_restart_gives_the_same_bytes(pair: Pair) -> None:
    one, two = clients_of(pair)
    write_at_random(one, 1, 60)
    one.declare(provider('host é "quoted" \\', aggregates=[uuid_of("rack")], traits=["MISC_SHARES_VIA_AGGREGATE"]))
    for each in ("json", "dot"):
        path = f"/graph/export?format={each}"
        before = one.ask("GET", path).data
        assert two.ask("GET", path).data == before
        assert pair[0].terminate() == 0
        pair[0].start()
        assert one.ask("GET", path).data == before


def test_what_a_restart_forgets_is_said_to_be_lost(pair: Pair) -> None:
    one, two = clients_of(pair)
    one.declare(host("host1"))
    old = revision(one)
    two.declare(host("host2"))
    now = revision(one)
    assert pair[0].terminate() == 0
    pair[0].start()
    with one.events(old) as stream:
        reset = stream.next()
        assert reset is not None
        assert (reset.name, reset.id) == ("reset", now)
        assert "/graph/export" in reset.data["reason"]
        two.declare(host("host3"))
        after = stream.next()
        assert after is not None
        assert after.name == "change"
    # Who had it all loses nothing.
    with one.events(now) as stream:
        assert stream.next() == after
    with two.events(old) as stream:
        names = [event.data["providers"]["created"][0]["name"] for event in (stream.next(), stream.next()) if event]
        assert names == ["host2", "host3"]
    with one.events(10**15) as stream:
        future = stream.next()
        assert future is not None
        assert (future.name, future.id) == ("reset", after.id)


def test_streams_outlive_etcd(etcd: EtcdServer, pair: Pair) -> None:
    one, two = clients_of(pair)
    one.declare(host("host1"))
    with following(one) as here:
        write_at_random(two, 2, 20)
        etcd.restart(kill=True)
        for process in pair:
            process.wait_for(200)
        write_at_random(two, 3, 20)
        etcd.compact()
        write_at_random(two, 4, 20)
        two.declare(provider("the last"))
        now = json.loads(two.export())
        here.wait_for(now["revision"])
        assert here.export() == now
        assert pair[0].terminate() == 0


def test_the_service_ends_at_once_however_many_listen(etcd: EtcdServer, tmp_path: Path) -> None:
    with PlacementProcess(graph_of(etcd), tmp_path / "one.log") as process, contextlib.ExitStack() as stack:
        graph = GraphClient(process.url)
        streams = [stack.enter_context(graph.events()) for _ in range(100)]
        for stream in streams:
            assert stream.next() is not None
        # One that never reads, and a load that is not sent to its end.
        deaf = stack.enter_context(connected(process))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /graph/events?since=0 HTTP/1.1\r\nhost: x\r\n\r\n")
        loading = stack.enter_context(connected(process))
        loading.sendall(
            b"POST /graph/trees HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
            b"content-length: 1000000\r\n\r\n" + json.dumps(host("late")).encode() + b"\n"
        )
        graph.load(json.dumps(host(f"host{number}")).encode() + b"\n" for number in range(2000))
        begun = time.monotonic()
        assert process.terminate() == 0
        assert time.monotonic() - begun < 2
        received = b""
        while part := loading.recv(65536):
            received += part
        assert b"the service stops" in received, received
        for stream in streams:
            while stream.next() is not None:
                pass


def connected(process: PlacementProcess) -> socket.socket:
    address = urllib.parse.urlsplit(process.url)
    return socket.create_connection((str(address.hostname), address.port or 0))


def test_slow_clients_cost_the_process_no_memory(pair: Pair) -> None:
    process, _ = pair
    graph = GraphClient(process.url)
    graph.declare(host("host0"))
    deaf = [connected(process) for _ in range(20)]
    for each in deaf:
        each.sendall(b"GET /graph/events?since=0 HTTP/1.1\r\nhost: x\r\n\r\n")
    graph.load(json.dumps(host(f"host{number}")).encode() + b"\n" for number in range(100))
    before = process.resident_mib()
    for total in range(2, 14):
        for number in range(100):
            wanted = host(f"host{number}")
            wanted["inventories"]["DISK_GB"]["total"] = total
            wanted["children"][0]["traits"] = ["HW_NUMA_ROOT"] * (total % 2)
            wanted["aggregates"] = [uuid_of(f"aggregate{each}") for each in range(40 + total % 2)]
            graph.declare(wanted)
    assert process.resident_mib() < before + 40
    # They find what they can have once they read: what is remembered, or that something is lost.
    with graph.events(1) as stream:
        assert isinstance(stream.next(), Event)
    for each in deaf:
        each.close()


def test_streams_and_exports_ask_for_the_token(etcd: EtcdServer) -> None:
    with PlacementThread(graph_of(etcd), token="secret") as service:
        graph = GraphClient(service.url)
        for method, path in (
            ("GET", "/graph/events"),
            ("GET", "/graph/export"),
            ("POST", "/graph/trees"),
            ("PUT", f"/graph/trees/{uuid_of('host1')}"),
        ):
            assert graph.refused(401, method, path, host("host1"))["code"] == "placement.undefined_code"
        assert graph.ask("GET", "/graph/export", **{"x-auth-token": "secret"}).status == 200
        with graph.events(headers={"x-auth-token": "secret"}) as stream:
            assert stream.next() is not None
