"""Real etcd servers for tests: one member or several, on free loopback ports, to start, stop, kill and freeze."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.functional.frozen import freeze
from tests.functional.ports import free_ports

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EtcdServer:
    """One etcd member: alone, or part of an `EtcdCluster`. Its data lies below `directory` and outlives restarts.

    `arguments` are more of etcd's own; with `scheme` https they must name the server's certificate and key, and
    the JSON gateway's methods below do not work.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "etcd1",
        client_port: int | None = None,
        peer_port: int | None = None,
        initial_cluster: str | None = None,
        scheme: str = "http",
        arguments: Sequence[str] = (),
    ) -> None:
        ports = free_ports(2)
        self.name = name
        self.directory = directory
        self.port = client_port or ports[0]
        self.peer_port = peer_port or ports[1]
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}"
        self.log_file = directory / f"{name}.log"
        self._scheme = scheme
        self._data = directory / name
        peer = f"http://127.0.0.1:{self.peer_port}"
        self._command = [
            "etcd",
            f"--name={name}",
            f"--data-dir={self._data}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={initial_cluster or f'{name}={peer}'}",
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=warn",
            f"--log-outputs={self.log_file}",
            # A member that is alone cannot lose an election, so it need not wait a second for one.
            *(() if initial_cluster else ("--heartbeat-interval=50", "--election-timeout=250")),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the process, with the data of the last run if there are any, and wait until it answers."""
        assert not self.running, f"{self.name} is running already"
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        self._process = subprocess.Popen(
            self._command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if wait:
            self.wait_healthy()
        return self

    def wait_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the server has a leader and answers a linearizable read (with TLS: until it listens)."""
        until = time.monotonic() + timeout_s
        while True:
            assert self.running, f"{self.name} ended: {self.log_tail()}"
            if self._answers():
                return
            assert time.monotonic() < until, f"{self.name} is not healthy: {self.log_tail()}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        if self._scheme == "https":
            with socket.socket() as probe:
                probe.settimeout(1)
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        try:
            with _opener.open(f"{self.endpoint}/health", timeout=2) as response:
                return bool(json.load(response)["health"] == "true")
        except (OSError, ValueError, KeyError):
            return False

    def stop(self) -> None:
        """End the process as an init system would: SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT_S)
        self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again on the same data."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def freeze(self) -> None:
        """Suspend the process (SIGSTOP): connections stay open and nothing answers."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove_data(self) -> None:
        """Delete all data; only while stopped."""
        assert not self.running, f"{self.name} is running"
        shutil.rmtree(self._data, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        return self.log_file.read_text()[-2000:] if self.log_file.exists() else "(no log)"

    # The JSON gateway: an access to the store that shares no code with what is under test.

    def post(self, path: str, body: Mapping[str, Any], *, token: str = "") -> dict[str, Any]:
        """Call the JSON gateway, such as `/v3/kv/compaction`, and return the answer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        request = urllib.request.Request(f"{self.endpoint}{path}", json.dumps(body).encode(), headers)
        with _opener.open(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def revision(self) -> int:
        """Return the store's revision."""
        answer = self.post("/v3/kv/range", {"key": encoded("\0"), "count_only": True})
        return int(answer["header"]["revision"])

    def put(self, key: str, value: str | bytes) -> int:
        """Write a key and return the revision."""
        answer = self.post("/v3/kv/put", {"key": encoded(key), "value": encoded(value)})
        return int(answer["header"]["revision"])

    def delete(self, key: str) -> int:
        """Delete a key and return the revision."""
        answer = self.post("/v3/kv/deleterange", {"key": encoded(key)})
        return int(answer["header"]["revision"])

    def wipe(self) -> None:
        """Delete all keys (the revision goes on)."""
        self.post("/v3/kv/deleterange", {"key": encoded("\0"), "range_end": encoded("\0")})

    def compact(self, revision: int | None = None) -> int:
        """Forget what was before `revision` (now, unless given); return it."""
        at = revision or self.revision()
        self.post("/v3/kv/compaction", {"revision": str(at), "physical": True})
        return at

    def is_leader(self) -> bool:
        """Whether this member leads the cluster."""
        status = self.post("/v3/maintenance/status", {})
        return bool(status.get("leader") == status["header"]["member_id"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()


class EtcdCluster:
    """Several members of one cluster."""

    def __init__(self, directory: Path, *, size: int = 3, arguments: Sequence[str] = ()) -> None:
        ports = free_ports(2 * size)
        names = [f"etcd{number + 1}" for number in range(size)]
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports[size:], strict=True))
        self.members = [
            EtcdServer(
                directory,
                name=name,
                client_port=client_port,
                peer_port=peer_port,
                initial_cluster=cluster,
                arguments=arguments,
            )
            for name, client_port, peer_port in zip(names, ports[:size], ports[size:], strict=True)
        ]

    @property
    def endpoints(self) -> list[str]:
        """The addresses of all members."""
        return [member.endpoint for member in self.members]

    def start(self) -> Self:
        """Start all members and wait until all answer."""
        for member in self.members:
            member.start(wait=False)
        for member in self.members:
            member.wait_healthy()
        return self

    def leader(self, timeout_s: float = START_TIMEOUT_S) -> EtcdServer:
        """Return the running member that leads, waiting for an election under way."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for member in self.members:
                if member.running and self._leads(member):
                    return member
            time.sleep(0.05)
        raise AssertionError("the cluster has no leader")

    @staticmethod
    def _leads(member: EtcdServer) -> bool:
        try:
            return member.is_leader()
        except (OSError, ValueError):
            return False

    def kill(self) -> None:
        """Kill all members."""
        for member in self.members:
            member.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()


def encoded(text: str | bytes) -> str:
    """Return text as the JSON gateway wants it."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
