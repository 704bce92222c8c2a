"""Our service over each kind of graph, one for each profile, and how its state is replaced before every file."""

import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import urllib3

from etcdcompute.deadline import Deadline
from etcdcompute.kv.client import Client
from etcdcompute.model import keys
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import HEAD, ref_of
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.etcd import EtcdJournal
from etcdcompute.placement.graph.journal import Journal, MemoryJournal
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.connection import Connection, Work
from etcdcompute.placement.graph.neo4j.loading import load
from etcdcompute.placement.graph.neo4j.schema import prepare
from etcdcompute.placement.graph.neo4j.scope import Scope, of_documents
from etcdcompute.placement.graph.neo4j.writing import write
from etcdcompute.placement.serve import serve
from tests.conformance.gabbi.profiles import Profile
from tests.conformance.gabbi.topologies import Documents
from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.ports import free_ports
from tests.functional.waiting import eventually

START_TIMEOUT_S = 60.0
# Less than etcd's 128 operations a transaction, the head included.
_AT_ONCE = 100


class Services(Protocol):
    """A graph and the services over it."""

    def replace(self, profile: Profile, documents: Documents) -> None:
        """Make the graph that the profile's service shows consist of these documents and no others."""

    def port_of(self, profile: Profile) -> int:
        """Return the port of the profile's service on 127.0.0.1, which need not have been started."""


class MemoryServices:
    """memory://: one service in a thread of this process at a time, begun afresh with every file."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._ports: dict[str, int] = {}
        self._running = stack.enter_context(ExitStack())

    def port_of(self, profile: Profile) -> int:
        """Return a port of its own for each profile."""
        return self._ports.setdefault(profile.name, free_ports(1)[0])

    def replace(self, profile: Profile, documents: Documents) -> None:
        """Start a new service."""
        self._running.close()
        journal = MemoryJournal()
        store = EmbeddedStore(journal)
        stop, ready = threading.Event(), threading.Event()
        thread = threading.Thread(
            target=serve,
            name="placement-under-test",
            kwargs={
                "graph": "memory://",
                "listen": f"127.0.0.1:{self.port_of(profile)}",
                "auth": "noauth2",
                "policy": profile.policy,
                "cors_origins": profile.cors_origins,
                "stop": stop,
                "ready": lambda *_: ready.set(),
                "store": store,
            },
        )
        thread.start()
        self._running.callback(thread.join)
        self._running.callback(stop.set)
        assert ready.wait(START_TIMEOUT_S)
        # Only then does the journal have somebody to tell.
        assert store.check_health()["graph"] == "ok"
        _write(journal, documents)


class ProcessServices(ABC):
    """A database, and processes of `etcdcompute placement serve` over it, one for each profile."""

    def __init__(self, stack: ExitStack, directory: Path, graph: str) -> None:
        self._stack = stack
        self._directory = directory
        self._graph = graph
        self._ports: dict[str, int] = {}
        self._started: set[str] = set()

    def port_of(self, profile: Profile) -> int:
        """Return a port of its own for each profile."""
        return self._ports.setdefault(profile.name, free_ports(1)[0])

    def replace(self, profile: Profile, documents: Documents) -> None:
        """Replace the documents below the running services."""
        self.replace_documents(documents)
        if profile.name not in self._started:
            self._start(profile)
            self._started.add(profile.name)

    @abstractmethod
    def replace_documents(self, documents: Documents) -> None:
        """Remove what is there, in transactions that the running services understand, and write what shall be."""

    def _start(self, profile: Profile) -> None:
        program = str(Path(sys.executable).with_name("etcdcompute"))
        listen = f"127.0.0.1:{self.port_of(profile)}"
        command = [program, "placement", "serve", f"--graph={self._graph}", f"--listen={listen}"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCDCOMPUTE_")}
        log = self._directory / f"{profile.name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen([*command, *profile.arguments], stdout=output, stderr=output, env=environment)
        self._stack.callback(_end, process, log)

        def healthy() -> bool:
            assert process.poll() is None, f"the service ended: {log.read_text(encoding='utf-8')[-3000:]}"
            try:
                return urllib3.request("GET", f"http://{listen}/healthcheck", retries=False, timeout=5).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        eventually(healthy, f"the service on {listen} is healthy", START_TIMEOUT_S)


class EtcdServices(ProcessServices):
    """etcd://: a real etcd."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        etcd = stack.enter_context(EtcdServer(directory))
        super().__init__(stack, directory, f"etcd://127.0.0.1:{etcd.port}")
        self._client = Client((etcd.endpoint,))
        self._journal = EtcdJournal(self._client)
        stack.callback(self._journal.close)

    def replace_documents(self, documents: Documents) -> None:
        """Remove by key, and write."""
        listed = self._client.read_prefix(keys.PLACEMENT).items
        found = {ref: item.mod_revision for item in listed if (ref := ref_of(item.key)) not in (None, HEAD)}
        refs = [ref for ref in found if ref is not None]
        for start in range(0, len(refs), _AT_ONCE):
            some = refs[start : start + _AT_ONCE]
            self._journal.commit(
                Change(expected={ref: found[ref] for ref in some}, removals=set(some)), Deadline.after(START_TIMEOUT_S)
            )
        _write(self._journal, documents)


class Neo4jServices(ProcessServices):
    """neo4j://: a real Neo4j."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._server = stack.enter_context(Neo4jServer(directory / "neo4j"))
        super().__init__(stack, directory, self._server.url)
        self._connection = stack.enter_context(Connection(Address.parse(self._server.url)))
        prepare(self._connection, Deadline.after(START_TIMEOUT_S))

    def replace_documents(self, documents: Documents) -> None:
        """Remove all nodes but those of the schema, and write."""
        self._server.empty()
        change = Change(puts=dict(documents))
        if not change.empty:
            scope = of_documents(change.puts)
            self._connection.write(partial(_put, scope=scope, change=change), Deadline.after(START_TIMEOUT_S))


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    """End a service, and make sure that none of its answers was an accident."""
    process.terminate()
    status = process.wait(START_TIMEOUT_S)
    said = log.read_text(encoding="utf-8")
    assert status == 0, f"the service ended with {status}: {said[-3000:]}"
    assert "BUG" not in said, said[said.index("BUG") :][:3000]
    assert "Traceback" not in said, said[said.index("Traceback") :][:3000]


def _put(work: Work, scope: Scope, change: Change) -> None:
    loaded = load(work, scope)
    loaded.apply(change)
    write(work, loaded, change)


def _write(journal: Journal, documents: Documents) -> None:
    refs = list(documents)
    for start in range(0, len(refs), _AT_ONCE):
        some = refs[start : start + _AT_ONCE]
        change = Change(expected=dict.fromkeys(some, 0), puts={ref: documents[ref] for ref in some})
        journal.commit(change, Deadline.after(START_TIMEOUT_S))


GRAPHS: Mapping[str, Callable[[ExitStack, Path], Services]] = {
    "etcd": EtcdServices,
    "memory": MemoryServices,
    "neo4j": Neo4jServices,
}
