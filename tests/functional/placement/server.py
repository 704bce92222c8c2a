"""Placement services for tests: in a thread of the test, or in a process of their own to kill."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3

from etcdcompute.placement.client import PlacementClient
from etcdcompute.placement.serve import serve
from tests.functional.ports import free_ports
from tests.functional.waiting import eventually

# A Neo4j that was just begun takes its time to plan what it is asked.
START_TIMEOUT_S = 120.0
_PROGRAM = """
import logging, sys
from etcdcompute.placement.serve import serve
logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s %(message)s")
serve(graph=sys.argv[1], listen=sys.argv[2])
"""


class PlacementThread:
    """A service in this process."""

    def __init__(self, graph: str, *, token: str | None = None) -> None:
        self._graph = graph
        self._token = token
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="placement-under-test")
        self.url = ""

    def _serve(self) -> None:
        serve(graph=self._graph, listen="127.0.0.1:0", token=self._token, stop=self._stop, ready=self._is_ready)

    def _is_ready(self, host: str, port: int) -> None:
        self.url = f"http://{host}:{port}"
        self._ready.set()

    def wait_until_healthy(self) -> None:
        def healthy() -> bool:
            return urllib3.request("GET", f"{self.url}/healthcheck", retries=False, timeout=5).status == 200

        eventually(healthy, "the service is healthy", START_TIMEOUT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(START_TIMEOUT_S)
        assert not self._thread.is_alive()


class PlacementProcess:
    """A service in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, graph: str, log: Path) -> None:
        self._graph = graph
        self._log = log
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, healthy: bool = True) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, self._graph, f"127.0.0.1:{self.port}"],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": "error"},
            )
        self.wait_for(200 if healthy else None)
        return self

    def wait_for(self, status: int | None, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """Wait until /healthcheck answers with the status (any, for None); return what it says."""
        until = time.monotonic() + timeout_s
        seen: object = "nothing"
        while time.monotonic() < until:
            assert self._process is not None
            assert self._process.poll() is None, f"placement ended: {self.log_tail()}"
            try:
                answer = urllib3.request("GET", f"{self.url}/healthcheck", retries=False, timeout=5)
            except urllib3.exceptions.HTTPError as error:
                seen = error
            else:
                seen = answer.status, answer.data
                if status in (None, answer.status):
                    document: dict[str, Any] = answer.json()
                    return document
            time.sleep(0.05)
        raise AssertionError(f"no {status} from /healthcheck but {seen}: {self.log_tail()}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """End the process as an init system would, and return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(how)
        status = self._process.wait(10)
        self._process = None
        return status

    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def log_tail(self) -> str:
        return self._log.read_text()[-3000:]

    def client(self, timeout_s: float = 10.0) -> PlacementClient:
        return PlacementClient([self.url], timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        log = self._log.read_text()
        # Not in a path, which stands there as it was sent.
        assert " BUG: " not in log, log[-5000:]
        assert "Traceback" not in log, log[-5000:]
