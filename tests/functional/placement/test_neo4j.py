"""The store in Neo4j where it differs from the others: locks, the schema, and a server that is not as it should be."""

import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, NotFound, Unavailable
from etcdcompute.placement.graph.errors import CannotAllocate, TraitInUse
from etcdcompute.placement.graph.neo4j import deciding, loading
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.connection import Connection
from etcdcompute.placement.graph.neo4j.schema import MIGRATIONS, Migration, prepare
from etcdcompute.placement.graph.neo4j.store import Neo4jStore
from etcdcompute.placement.graph.records import ANY, Claim, Inventory
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree, TreeOutcome
from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.graph_client import GraphClient, provider, uuid_of
from tests.functional.placement.server import PlacementProcess
from tests.functional.ports import free_ports
from tests.functional.waiting import eventually

HOST = str(uuid.uuid5(uuid.NAMESPACE_DNS, "host"))
PATIENT_S = 60.0


def store_on(server: Neo4jServer, *, locking: bool = True) -> Neo4jStore:
    return Neo4jStore(Address.parse(server.url), request_timeout_s=PATIENT_S, locking=locking)


@contextmanager
def together(parties: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have so many claims look at the graph before any of them goes on to write, as far as nobody keeps them apart."""
    barrier = threading.Barrier(parties)
    load = loading.load

    def look_and_wait(*arguments: Any) -> Any:
        found = load(*arguments)
        try:
            barrier.wait(0.5)
        except threading.BrokenBarrierError:
            barrier.reset()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(deciding, "load", look_and_wait)
        yield


@pytest.mark.parametrize("locking", [True, False])
def test_without_locks_the_same_room_is_given_out_twice(
    neo4j: Neo4jServer, monkeypatch: pytest.MonkeyPatch, locking: bool
) -> None:
    store = store_on(neo4j, locking=locking)
    store.create_provider(HOST, "host", None)
    store.set_inventories(HOST, {"VCPU": Inventory(10)}, None)

    def claim(_: int) -> bool:
        try:
            store.claim([Claim(str(uuid.uuid4()), {HOST: {"VCPU": 6}}, "project", "user", "INSTANCE", ANY)])
        except CannotAllocate:
            return False
        return True

    with together(4, monkeypatch), ThreadPoolExecutor(4) as pool:
        granted = sum(pool.map(claim, range(4)))
    used = store.get_provider(HOST).used["VCPU"]
    store.close()
    assert used == 6 * granted
    # This is what the locks are for: read-committed alone sells what there is several times.
    assert (granted == 1) if locking else (granted > 1)


def test_a_claim_of_a_consumer_that_two_are_making_is_made_once(neo4j: Neo4jServer) -> None:
    store = store_on(neo4j)
    hosts = [str(uuid.uuid4()) for _ in range(4)]
    for each in hosts:
        store.create_provider(each, each, None)
        store.set_inventories(each, {"VCPU": Inventory(10)}, None)
    consumer = str(uuid.uuid4())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: store.claim([Claim(consumer, {each: {"VCPU": 2}}, "p", "u", None, ANY)]), hosts))
    found, _ = store.get_consumer(consumer)
    used = {each: store.get_provider(each).used["VCPU"] for each in hosts}
    store.close()
    assert found is not None
    assert found.generation == len(hosts)
    assert {uuid: {"VCPU": amount} for uuid, amount in used.items() if amount} == found.allocations


def test_what_a_consumer_claims_from_keeps_its_order(neo4j: Neo4jServer) -> None:
    store = store_on(neo4j)
    hosts = sorted(str(uuid.uuid4()) for _ in range(3))
    for each in hosts:
        store.create_provider(each, each, None)
        store.set_inventories(each, {"VCPU": Inventory(10), "DISK_GB": Inventory(10)}, None)
    consumer = str(uuid.uuid4())
    orders = [hosts, hosts[::-1], [hosts[1], hosts[2], hosts[0]]]
    seen = []
    for order in orders:
        store.claim([Claim(consumer, {each: {"VCPU": 1, "DISK_GB": 1} for each in order}, "p", "u", None, ANY)])
        found, _ = store.get_consumer(consumer)
        seen.append(list(found.allocations) if found else [])
    # As claims stand there that were made before positions were kept.
    neo4j.run("MATCH (:Consumer {uuid: $uuid})-[k:CONSUMES]->() REMOVE k.position", uuid=consumer)
    old, _ = store.get_consumer(consumer)
    store.close()
    assert seen == orders
    assert old is not None
    assert old.allocations == {each: {"VCPU": 1, "DISK_GB": 1} for each in hosts}


def test_nothing_is_left_of_what_is_removed(neo4j: Neo4jServer) -> None:
    store = store_on(neo4j)
    store.create_trait("CUSTOM_FAST")
    store.create_resource_class("CUSTOM_SLOT")
    store.create_provider(HOST, "host", None)
    store.set_inventories(HOST, {"CUSTOM_SLOT": Inventory(10)}, None)
    store.set_traits(HOST, ["CUSTOM_FAST"], None)
    store.set_aggregates(HOST, [str(uuid.uuid4())], None)
    store.claim([Claim(HOST, {HOST: {"CUSTOM_SLOT": 1}}, "project", "user")])
    store.release(HOST)
    store.delete_tree(HOST)
    store.delete_trait("CUSTOM_FAST")
    store.delete_resource_class("CUSTOM_SLOT")
    store.close()
    assert neo4j.run("MATCH (n) WHERE NOT n:PlacementHead AND NOT n:PlacementChange RETURN labels(n) AS labels") == []


def _tree(root_uuid: str, aggregate: str) -> Tree:
    inventories = {"VCPU": Inventory(4)}
    return Tree((DeclaredProvider(root_uuid, root_uuid, None, inventories, ("CUSTOM_FAST",), (aggregate,)),))


def test_trees_are_created_side_by_side_while_what_they_share_comes_and_goes(neo4j: Neo4jServer) -> None:
    """They take the head's lock last: traits and aggregates come and go under their hands."""
    store = store_on(neo4j)
    aggregates = [str(uuid.uuid4()) for _ in range(2)]
    removed, ended = threading.Event(), threading.Event()

    def create(number: int) -> list[TreeOutcome | EtcdComputeError]:
        outcomes = []
        for _ in range(8):
            uuids = [str(uuid.uuid4()) for _ in range(4)]
            # Who shares what in another order than the others.
            outcomes += store.declare_trees([_tree(each, aggregates[at % 2]) for at, each in enumerate(uuids, number)])
            for each in uuids:
                store.delete_tree(each)
        return outcomes

    def come_and_go() -> None:
        while not ended.is_set():
            store.create_trait("CUSTOM_FAST")
            with suppress(TraitInUse, NotFound):
                store.delete_trait("CUSTOM_FAST")
                removed.set()

    with ThreadPoolExecutor(4) as pool:
        coming_and_going = pool.submit(come_and_go)
        try:
            assert removed.wait(PATIENT_S)
            outcomes = [outcome for each in pool.map(create, range(3)) for outcome in each]
        finally:
            ended.set()
        coming_and_going.result()
    with suppress(NotFound):
        store.delete_trait("CUSTOM_FAST")
    store.close()
    assert [outcome for outcome in outcomes if not isinstance(outcome, TreeOutcome)] == []
    assert neo4j.run("MATCH (n) WHERE NOT n:PlacementHead AND NOT n:PlacementChange RETURN labels(n) AS labels") == []
    (changes,) = neo4j.run("MATCH (c:PlacementChange) RETURN count(c) AS count, max(c.revision) AS last")
    assert changes["count"] == changes["last"]


@pytest.fixture
def service(neo4j: Neo4jServer, tmp_path: Path) -> Iterator[PlacementProcess]:
    with PlacementProcess(neo4j.url, tmp_path / "log") as running:
        yield running


def health(service: PlacementProcess, status: int) -> dict[str, str]:
    found: dict[str, str] = service.wait_for(status, PATIENT_S)["dependencies"]
    return found


def refusal(service: PlacementProcess, method: str = "GET", path: str = "/resource_providers", **body: Any) -> str:
    """Return why a request is refused for now."""
    answer = urllib3.request(method, f"{service.url}{path}", retries=False, timeout=10, json=body or None)
    assert answer.status == 503, answer.data
    detail: str = answer.json()["errors"][0]["detail"]
    return detail


@contextmanager
def _early(graph: str, directory: Path) -> Iterator[PlacementProcess]:
    """A service that begins before its graph can be had."""
    process = PlacementProcess(graph, directory / "early.log")
    process.start(healthy=False)
    try:
        yield process
    finally:
        assert process.terminate() == 0
    assert " BUG: " not in process.log_tail()


def test_a_server_that_dies_is_told_of_and_waited_for(neo4j: Neo4jServer, service: PlacementProcess) -> None:
    client = GraphClient(service.url)
    client.declare(provider("host", inventories={"VCPU": {"total": 8}}))
    neo4j.kill()
    assert f"Neo4j at 127.0.0.1:{neo4j.port} does not serve" in refusal(service)
    assert f"127.0.0.1:{neo4j.port}" in refusal(service, "PUT", f"/graph/trees/{uuid_of('host')}", **provider("host"))
    assert f"Neo4j at 127.0.0.1:{neo4j.port} does not serve" in health(service, 503)["store"]
    neo4j.start()
    assert health(service, 200) == {"store": "ok", "graph": "ok"}
    assert client.tree("host")["inventories"]["VCPU"]["total"] == 8


def test_a_server_that_stands_still_is_told_of_in_time(neo4j: Neo4jServer, service: PlacementProcess) -> None:
    client = GraphClient(service.url)
    client.declare(provider("host"))
    neo4j.freeze()
    try:
        assert "does not serve" in refusal(service)
        assert "does not serve" in health(service, 503)["store"]
    finally:
        neo4j.thaw()
    health(service, 200)
    assert client.tree("host")["name"] == "host"


def test_a_wrong_password_is_named_and_may_become_right(neo4j: Neo4jServer, tmp_path: Path) -> None:
    neo4j.run("CREATE OR REPLACE USER placement SET PASSWORD 'the-right-one' CHANGE NOT REQUIRED")
    wrong = f"neo4j://placement:the-wrong-one@127.0.0.1:{neo4j.port}"
    with _early(wrong, tmp_path) as process:
        assert "refuses the user placement with this password" in health(process, 503)["store"]
        assert "set both in placement.graph" in refusal(process)
        neo4j.run("ALTER USER placement SET PASSWORD 'the-wrong-one' CHANGE NOT REQUIRED")
        assert health(process, 200) == {"store": "ok", "graph": "ok"}


def test_what_is_no_neo4j_is_named(etcd: EtcdServer, tmp_path: Path) -> None:
    with _early(f"neo4j://neo4j:secret@127.0.0.1:{etcd.port}", tmp_path) as process:
        assert f"127.0.0.1:{etcd.port}" in health(process, 503)["store"]


def test_it_starts_before_its_server(neo4j: Neo4jServer, tmp_path: Path) -> None:
    neo4j.stop()
    with _early(neo4j.url, tmp_path) as process:
        health(process, 503)
        neo4j.start()
        assert health(process, 200) == {"store": "ok", "graph": "ok"}


def test_a_full_disk_is_told_of_and_nothing_is_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with (
        _small_disk(disk) as fill,
        Neo4jServer(disk / "neo4j", port=free_ports(1)[0]) as server,
        PlacementProcess(server.url, tmp_path / "log") as process,
    ):
        client = GraphClient(process.url)
        client.declare(provider("host", inventories={"VCPU": {"total": 8}}))
        with fill():
            reason = ""
            for number in range(2000):
                answer = client.ask("PUT", f"/graph/trees/{uuid_of(f'n{number}')}", provider(f"n{number}"))
                if answer.status == 503:
                    reason = answer.json()["errors"][0]["detail"]
                    break
                assert answer.status == 201, answer.data
            assert "Neo4j" in reason
        if not _serves(client):
            # A database that could not write its log wants its server started again, and the server does not end when
            # it is asked to: it tries to write for ever. The role's watch does the same.
            server.kill()
            server.start()
        health(process, 200)
        listed = client.ask("GET", "/resource_providers").json()["resource_providers"]
        assert {each["name"] for each in listed} >= {"host", *(f"n{each}" for each in range(number))}
        client.declare(provider("afterwards"))
        export = client.ask("GET", "/graph/export").json()
        assert len(export["providers"]) == len(listed) + 1


@contextmanager
def _small_disk(at: Path) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Make a disk of its own; what it gives fills the disk for as long as its context lasts."""
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(at)], check=True)

    @contextmanager
    def full() -> Iterator[None]:
        filling = at / "filling"
        free = os.statvfs(at)
        # A little is left, for the log to be begun and not to be ended.
        with filling.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 64 * 1024)
        try:
            yield
        finally:
            filling.unlink()

    try:
        yield full
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def _serves(client: GraphClient) -> bool:
    """Whether writes go on by themselves."""
    try:
        eventually(lambda: client.ask("PUT", "/traits/CUSTOM_AGAIN").status in (201, 204), "it writes again", 10.0)
    except AssertionError:
        return False
    return True


def test_a_schema_of_a_later_version_is_left_alone(neo4j: Neo4jServer) -> None:
    with Connection(Address.parse(neo4j.url)) as connection:
        prepare(connection, Deadline.after(PATIENT_S))
        neo4j.run("MATCH (h:PlacementHead) SET h.schema_version = 99")
        try:
            with pytest.raises(Unavailable, match="has schema version 99, this program knows 1: upgrade etcd-compute"):
                prepare(connection, Deadline.after(PATIENT_S))
        finally:
            neo4j.run("MATCH (h:PlacementHead) SET h.schema_version = $known", known=len(MIGRATIONS))


def test_migrations_are_carried_out_once_whoever_begins(neo4j: Neo4jServer) -> None:
    count = Migration((), "MERGE (n:Migrated) ON CREATE SET n.times = 0 SET n.times = n.times + 1")
    later = (*MIGRATIONS, count)

    def migrate(_: int) -> None:
        with Connection(Address.parse(neo4j.url)) as connection:
            prepare(connection, Deadline.after(PATIENT_S), later)

    try:
        migrate(0)
        neo4j.run("MATCH (h:PlacementHead) SET h.schema_version = $before", before=len(MIGRATIONS))
        neo4j.run("MATCH (n:Migrated) SET n.times = 0")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(migrate, range(4)))
        assert neo4j.run("MATCH (n:Migrated) RETURN n.times AS times") == [{"times": 1}]
        assert neo4j.run("MATCH (h:PlacementHead) RETURN h.schema_version AS version") == [{"version": len(later)}]
    finally:
        neo4j.run("MATCH (h:PlacementHead) SET h.schema_version = $known", known=len(MIGRATIONS))
