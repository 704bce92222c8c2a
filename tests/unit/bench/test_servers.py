"""What the bench starts it ends, with everything that came of it."""

import os
import sys
from pathlib import Path

import pytest

from bench.servers import Server, environment_without
from bench.wire import BenchError
from tests.functional.waiting import eventually

# Starts a child, says so, and waits; both ignore a polite request to end.
PARENT = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    pathlib.Path("child").write_text(str(child))
while True:
    time.sleep(100)
"""


def start(folder: Path, program: str) -> Server:
    return Server("program", [sys.executable, "-c", program], folder, environment=dict(os.environ))


def child_of(folder: Path) -> int:
    text = (folder / "child").read_text()
    if not text:
        raise FileNotFoundError
    return int(text)


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone; whoever inherited it may not have collected it yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_server_ends_with_its_children(tmp_path: Path) -> None:
    with start(tmp_path, PARENT) as server:
        server.await_ready(lambda: child_of(tmp_path) > 0)
        child = child_of(tmp_path)
        assert Path(f"/proc/{child}").exists()
    assert not Path(f"/proc/{server.pid}").exists()
    eventually(lambda: has_ended(child), "the child was killed along with its parent")


def test_memory_is_that_of_every_process(tmp_path: Path) -> None:
    with start(tmp_path, PARENT) as server:
        server.await_ready(lambda: child_of(tmp_path) > 0)
        resident_mb = server.resident_mb()
    assert len(resident_mb) == 2
    assert all(1 < each < 1000 for each in resident_mb)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with start(tmp_path, "raise SystemExit('no such disk')") as server, pytest.raises(BenchError) as caught:
        server.await_ready(lambda: False)
    assert "program ended with status 1" in str(caught.value)
    assert "no such disk" in str(caught.value)


def test_nothing_in_the_environment_configures_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_UNSAFE_NO_FSYNC", "true")
    monkeypatch.setenv("HARMLESS", "x")
    environment = environment_without("ETCD_", "OS_")
    assert "ETCD_UNSAFE_NO_FSYNC" not in environment
    assert environment["HARMLESS"] == "x"
