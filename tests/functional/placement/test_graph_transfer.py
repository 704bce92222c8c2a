"""The whole state from a real etcd to a real Neo4j and back, by the command; killed in the middle, and going on."""

import contextlib
import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdcompute.errors import Conflict, EtcdComputeError, InvalidInput, NotFound
from etcdcompute.placement.graph.documents import Kind, NamedDocument, Ref, key_of
from etcdcompute.placement.graph.records import MAX_INT, Claim, Inventory, ProviderFilter
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.serve import open_store
from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.conftest import graph_of, prepare
from tests.functional.placement.server import PlacementProcess

TIMEOUT_S = 120


@pytest.fixture
def neo4j(neo4j: Neo4jServer) -> Neo4jServer:
    prepare(neo4j.url)
    return neo4j


@pytest.fixture(scope="module")
def other_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("other"), name="other") as server:
        yield server


@pytest.fixture
def other(other_of_module: EtcdServer) -> EtcdServer:
    other_of_module.wipe()
    return other_of_module


class Program:
    """The command, with failpoints."""

    def __init__(self, directory: Path) -> None:
        self.failpoints = directory / "failpoints"
        self.failpoints.mkdir()

    def run(self, *arguments: str, status: int | None = 0, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {
            **os.environ,
            "ETCDCOMPUTE_FAILPOINTS": str(self.failpoints),
            "ETCDCOMPUTE_CONFIG": "/dev/null",
            "PYTHONWARNINGS": "error",
        }
        code = "import sys; from etcdcompute.cli.app import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", code, "graph", *arguments]
        ended = subprocess.run(command, capture_output=True, input=given, env=environment, timeout=TIMEOUT_S)
        assert status is None or ended.returncode == status, ended
        assert b"Traceback" not in ended.stderr, ended.stderr.decode()
        return ended


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def at() -> Iterator[Callable[[str], GraphStore]]:
    opened: list[GraphStore] = []

    def open_(url: str) -> GraphStore:
        store = open_store(url)
        store.start()
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


def live(store: GraphStore, seed: int, steps: int) -> None:
    """Let a random history happen: much of it is refused, which is fine."""
    chance = random.Random(seed)
    providers = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(12)]
    consumers = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(20)]
    aggregates = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(3)]
    classes, traits = ["VCPU", "MEMORY_MB", "CUSTOM_A", "CUSTOM_B"], ["HW_NUMA_ROOT", "CUSTOM_X", "CUSTOM_Y"]

    def inventories() -> dict[str, Inventory]:
        return {
            name: Inventory(
                chance.choice([1, 8, 1000, MAX_INT]),
                allocation_ratio=chance.choice([0.1, 1.0, 1.5, 16.0, 1 / 3]),
                max_unit=chance.choice([4, MAX_INT]),
            )
            for name in chance.sample(classes, chance.randint(0, 3))
        }

    def claim() -> Claim:
        held = {
            each: {name: chance.randint(1, 4) for name in chance.sample(classes, chance.randint(1, 2))}
            for each in chance.sample(providers, chance.randint(0, 2))
        }
        kind = chance.choice([None, "INSTANCE", "MIGRATION"])
        return Claim(chance.choice(consumers), held, chance.choice("pq"), chance.choice("uv"), kind)

    steps_: list[Callable[[], object]] = [
        lambda: store.create_provider(
            chance.choice(providers), f"näme/{chance.randint(0, 15)} %", chance.choice([None, *providers])
        ),
        lambda: store.update_provider(
            chance.choice(providers),
            f"other\n{chance.randint(0, 15)}",
            chance.choice([None, *providers]),
            move=True,
            reparent=True,
        ),
        lambda: store.delete_provider(chance.choice(providers)),
        lambda: store.set_inventories(chance.choice(providers), inventories(), None),
        lambda: store.set_inventories(chance.choice(providers), inventories(), None),
        lambda: store.set_traits(chance.choice(providers), chance.sample(traits, 2), None),
        lambda: store.set_aggregates(chance.choice(providers), chance.sample(aggregates, 2), None),
        lambda: store.claim([claim()]),
        lambda: store.claim([claim()]),
        lambda: store.claim([claim()]),
        lambda: store.release(chance.choice(consumers)),
        lambda: store.create_trait(chance.choice(traits)),
        lambda: store.create_resource_class(chance.choice(classes)),
        lambda: store.delete_trait(chance.choice(traits)),
    ]
    for _ in range(steps):
        with contextlib.suppress(Conflict, InvalidInput, NotFound):
            chance.choice(steps_)()


def fill(store: GraphStore, hosts: int) -> None:
    for number in range(hosts):
        root = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"host{number}"))
        store.create_provider(root, f"host{number}", None)
        store.set_inventories(root, {"VCPU": Inventory(8)}, None)
        store.claim(
            [Claim(str(uuid.uuid5(uuid.NAMESPACE_DNS, f"c{number}")), {root: {"VCPU": 2}}, "p", "u", "INSTANCE")]
        )


def exported(program: Program, url: str) -> list[bytes]:
    """Return an export but for its first and last line, which have the store's own revision."""
    lines = program.run("export", "--graph", url).stdout.splitlines()
    assert json.loads(lines[0])["header"]["format"] == "etcdcompute-graph"
    assert set(json.loads(lines[-1])) == {"end"}
    return lines[1:-1]


def claimed(store: GraphStore) -> object:
    return sorted(
        (each.uuid, each.generation, sorted(each.used.items())) for each in store.list_providers(ProviderFilter())
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_there_and_back(
    etcd: EtcdServer,
    neo4j: Neo4jServer,
    other: EtcdServer,
    program: Program,
    at: Callable[[str], GraphStore],
    tmp_path: Path,
    seed: int,
) -> None:
    source = at(graph_of(etcd))
    live(source, seed, 400)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    said = program.run("export", "--graph", graph_of(etcd), first)
    assert b"next: etcdcompute graph import" in said.stderr
    there = program.run("import", "--graph", neo4j.url, first)
    assert there.stdout.startswith(b"equal: ")
    assert there.stdout.decode().strip().removeprefix("equal: ") in said.stderr.decode()
    live_there = at(neo4j.url)
    assert claimed(live_there) == claimed(source)
    program.run("export", "--graph", neo4j.url, second)
    back = program.run("import", "--graph", graph_of(other), "-", given=Path(second).read_bytes())
    assert back.stdout == there.stdout
    assert exported(program, graph_of(other)) == exported(program, graph_of(etcd)) == exported(program, neo4j.url)
    # Both go on alike from there.
    live(source, seed + 100, 60)
    live(live_there, seed + 100, 60)
    assert [each[:2] for each in claimed(source)] == [each[:2] for each in claimed(live_there)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["etcd", "neo4j"])
def test_killed_in_the_middle_it_goes_on(
    kind: str,
    etcd: EtcdServer,
    neo4j: Neo4jServer,
    other: EtcdServer,
    program: Program,
    at: Callable[[str], GraphStore],
    tmp_path: Path,
) -> None:
    fill(at(graph_of(etcd)), 100)
    file = str(tmp_path / "file")
    program.run("export", "--graph", graph_of(etcd), file)
    target = graph_of(other) if kind == "etcd" else neo4j.url
    with PlacementProcess(target, tmp_path / "service.log") as service:
        for point in ("import.begun", "import.restored", "import.restored", "import.compared"):
            (program.failpoints / point).write_text("kill")
            assert program.run("import", "--graph", target, file, status=None).returncode == -9
            # A service that was running, and one that is started now, say why they serve nothing.
            health = service.wait_for(503)
            assert "run etcdcompute graph import again" in health["dependencies"]["graph"]
            answer = service.client()
            with pytest.raises(EtcdComputeError, match="run etcdcompute graph import again"):
                answer.list_resource_providers()
            with pytest.raises(EtcdComputeError, match="an import of the graph"):
                answer.create_trait("CUSTOM_OTHER")
            answer.close()
        refused = program.run("export", "--graph", target, status=5)
        assert b"is not finished" in refused.stderr
        done = program.run("import", "--graph", target, file)
        assert b"went on where it was broken off" in done.stderr
        service.wait_for(200)
        client = service.client()
        assert len(client.list_resource_providers()) == 100
        client.close()
    assert exported(program, target) == exported(program, graph_of(etcd))
    again = program.run("import", "--graph", target, file)
    assert b"nothing was missing" in again.stderr


@pytest.mark.parametrize("kind", ["etcd", "neo4j"])
def test_killed_in_the_middle_it_can_be_dropped(
    kind: str,
    etcd: EtcdServer,
    neo4j: Neo4jServer,
    other: EtcdServer,
    program: Program,
    at: Callable[[str], GraphStore],
    tmp_path: Path,
) -> None:
    fill(at(graph_of(etcd)), 100)
    file = str(tmp_path / "file")
    program.run("export", "--graph", graph_of(etcd), file)
    target = graph_of(other) if kind == "etcd" else neo4j.url
    (program.failpoints / "import.compared").write_text("kill")
    program.run("import", "--graph", target, file, status=None)
    (program.failpoints / "import.removed").write_text("kill")
    assert program.run("import", "--graph", target, "--abandon", status=None).returncode == -9
    dropped = program.run("import", "--graph", target, "--abandon")
    assert b"the store is empty and can be served" in dropped.stderr
    assert exported(program, target) == []
    assert b"nothing was changed" in program.run("import", "--graph", target, "--abandon").stderr
    if kind == "neo4j":
        left = neo4j.run("MATCH (n) WHERE NOT n:PlacementHead AND NOT n:PlacementChange RETURN DISTINCT labels(n) AS l")
        assert [each for each in left if each["l"] != ["Trait"]] == []
    program.run("import", "--graph", target, file)
    assert exported(program, target) == exported(program, graph_of(etcd))


def test_what_is_not_empty_is_left_alone(
    etcd: EtcdServer,
    neo4j: Neo4jServer,
    other: EtcdServer,
    program: Program,
    at: Callable[[str], GraphStore],
    tmp_path: Path,
) -> None:
    fill(at(graph_of(etcd)), 3)
    file = str(tmp_path / "file")
    program.run("export", "--graph", graph_of(etcd), file)
    for url in (graph_of(other), neo4j.url):
        at(url).create_provider(str(uuid.uuid4()), "host1", None)
        before = exported(program, url)
        refused = program.run("import", "--graph", url, file, status=4)
        assert b"the store is not empty: it holds 1 provider," in refused.stderr
        assert exported(program, url) == before
    Path(file).write_bytes(Path(file).read_bytes()[:-20])
    other.wipe()
    assert b"not whole" in program.run("import", "--graph", graph_of(other), file, status=2).stderr
    assert b"cannot be read: No such file" in program.run("import", "--graph", neo4j.url, f"{file}2", status=2).stderr
    assert b"cannot be written" in program.run("export", "--graph", neo4j.url, "/nowhere/at/all", status=2).stderr
    other.stop()
    try:
        away = program.run("import", "--graph", graph_of(other), "--abandon", status=5)
        assert away.stderr.count(b"\n") == 1
    finally:
        other.start()


def test_an_export_of_what_cannot_be_read_is_refused(etcd: EtcdServer, program: Program) -> None:
    etcd.put(key_of(Ref(Kind.TRAIT, "CUSTOM_BROKEN")), b"{}}")
    refused = program.run("export", "--graph", graph_of(etcd), status=5)
    assert b"cannot be read, among them /etcdcompute/v1/placement/traits/CUSTOM_BROKEN" in refused.stderr
    assert refused.stdout == b""
    etcd.put(key_of(Ref(Kind.TRAIT, "CUSTOM_BROKEN")), NamedDocument(created_at=1.5).to_json())
    assert b"CUSTOM_BROKEN" in program.run("export", "--graph", graph_of(etcd)).stdout


def test_an_export_while_somebody_writes_is_of_one_moment(
    etcd: EtcdServer, program: Program, at: Callable[[str], GraphStore], tmp_path: Path
) -> None:
    writer = at(graph_of(etcd))
    fill(writer, 20)
    command = [sys.executable, "-c", "from etcdcompute.cli.app import main; main()", "graph", "export"]
    with subprocess.Popen(
        [*command, "--graph", graph_of(etcd), str(tmp_path / "f")], stderr=subprocess.PIPE
    ) as running:
        while running.poll() is None:
            live(writer, 1, 3)
        assert running.stderr is not None
        said = running.stderr.read()
    assert running.returncode == 0, said
    # Nearly always there was a change between the look and the end.
    assert b"exported " in said
    assert not (tmp_path / "f.part").exists()
