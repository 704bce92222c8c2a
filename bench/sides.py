"""The two sides of the comparison: a service over an empty store, on this machine's disk."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.servers import Server, environment_without
from bench.wire import TOKEN, Address, Connection
from tests.functional.ports import free_ports

# The program beside the running interpreter: the virtual environment's, whether or not that is activated.
_PROGRAM = str(Path(sys.executable).with_name("etcdcompute"))


@dataclass(frozen=True, slots=True)
class Service:
    """A running placement service; `etcd` is the endpoint of the etcd that it keeps its graph in, if it does."""

    server: Server
    address: Address
    etcd: str = ""


class Side(Protocol):
    """Starts services of one kind."""

    @property
    def name(self) -> str:
        """What the figures are filed under."""

    @property
    def bulk(self) -> bool:
        """Whether it takes many trees in one request."""

    def fresh(self) -> AbstractContextManager[Service]:
        """Return a service without any data, which ends with the context."""

    def memory_mb(self, service: Service) -> float:
        """Return what "the process" of the service has in memory."""


class Ours:
    """etcdcompute's placement over one etcd with etcd's defaults: every change is synced to the disk."""

    name = "ours"
    bulk = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0

    @contextmanager
    def fresh(self) -> Iterator[Service]:
        """Start an etcd on an empty directory, and a service over it."""
        self._started += 1
        folder = self._folder / f"ours{self._started}"
        client_port, peer_port = free_ports(2)
        endpoint = f"http://127.0.0.1:{client_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        etcd_command = [
            "etcd",
            "--name=bench",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={endpoint}",
            f"--advertise-client-urls={endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=bench={peer}",
            "--logger=zap",
            "--log-level=warn",
            # As our role has it.
            "--max-txn-ops=4096",
        ]
        with Server("etcd", etcd_command, folder, environment=environment_without("ETCD_")) as etcd:
            etcd.await_ready(lambda: answers(Address("127.0.0.1", client_port), "/health"))
            with serving(folder, f"etcd://127.0.0.1:{client_port}") as service:
                yield replace(service, etcd=endpoint)

    def memory_mb(self, service: Service) -> float:
        """Return the memory of the process, and of all others that it may have started."""
        return sum(service.server.resident_mb())


@contextmanager
def serving(folder: Path, graph: str) -> Iterator[Service]:
    """Start our service over a graph that is there, or in memory."""
    (port,) = free_ports(1)
    address = Address("127.0.0.1", port)
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "etcdcompute.yaml"
    settings.write_text(f"log: {{level: warning}}\nplacement: {{token: {TOKEN}}}\n")
    command = [_PROGRAM, f"--config={settings}", "placement", "serve", f"--graph={graph}", f"--listen=127.0.0.1:{port}"]
    with Server("placement", command, folder, environment=environment_without("ETCDCOMPUTE_")) as server:
        server.await_ready(lambda: answers(address, "/healthcheck"))
        yield Service(server, address)


def answers(address: Address, target: str) -> bool:
    """Tell whether a GET succeeds; OSError or BenchError where nobody listens."""
    connection = Connection(address, limit_s=5.0)
    try:
        connection.ask("GET", target)
    finally:
        connection.close()
    return True
