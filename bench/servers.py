"""Servers that the bench starts, each in a process group and a folder of its own, and ends whatever happens."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.wire import BenchError

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02


class Server:
    """One program and its children. Nothing that it writes is kept, so it is ended without ceremony."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, *, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # Its own session: Ctrl-C is the bench's to handle. And it ends with the bench, should that be killed.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def await_ready(self, probe: Callable[[], bool], *, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Wait until `probe` says yes (an OSError of its own is a no)."""
        until = time.monotonic() + timeout_s
        while True:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self._process.returncode}: {self.log_tail()}")
            with contextlib.suppress(OSError, BenchError):
                if probe():
                    return
            if time.monotonic() > until:
                raise BenchError(f"{self.name} is not ready after {timeout_s:g} s: {self.log_tail()}")
            time.sleep(_POLL_S)

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:] or "(it wrote nothing)"

    def resident_mb(self) -> list[float]:
        """Return the resident memory of the process and of each of its descendants, in MB (10^6 bytes)."""
        return [_resident_mb(pid) for pid in _family(self.pid)]

    def end(self) -> None:
        """Kill it with all its children, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end()


def environment_without(*prefixes: str) -> dict[str, str]:
    """Return the environment less the variables that would configure a server behind the bench's back."""
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"process {pid} has no resident memory")
