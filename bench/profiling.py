"""A flame graph of our service while a row is measured, by py-spy."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.wire import BenchError


def find_profiler() -> str:
    """Return the path of the virtual environment's py-spy; BenchError where there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    if not beside.exists():
        raise BenchError(f"a profile needs py-spy, and {beside} is not there: make bench PROFILE=yes installs it")
    return str(beside)


@contextmanager
def profiled(profiler: str, pid: int, path: Path) -> Iterator[None]:
    """Sample the process while the context lasts; the flame graph is written to `path` (SVG)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [profiler, "record", "--pid", str(pid), "--rate", "200", "--threads", "--output", str(path)]
    process = subprocess.Popen(
        [*command, "--duration", "unlimited"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
