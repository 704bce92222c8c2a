"""A flame graph of our service while a row is measured, by py-spy."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.wire import BenchError


def find_profiler() -> str:
    """Return the path of py-spy; BenchError where there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if not found:
        raise BenchError("a profile needs py-spy: .venv/bin/pip install py-spy")
    return found


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
