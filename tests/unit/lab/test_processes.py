import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes
from lab.processes import ContainerMarks


@pytest.fixture
def script(tmp_path: Path) -> Iterator[tuple[ContainerMarks, "subprocess.Popen[bytes]"]]:
    """A process that looks like a node's supervisor."""
    path = tmp_path / "run.sh"
    path.write_text("echo up\nread line\n")
    marks = ContainerMarks(path, tmp_path / "root", "etcdcompute-lab-000000-unit-test", None)
    with subprocess.Popen(["/bin/sh", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield marks, process
        process.kill()


def test_a_supervisor_is_found_by_its_script(script: tuple[ContainerMarks, "subprocess.Popen[bytes]"]) -> None:
    marks, process = script
    found = processes.find(marks)
    assert [(each.pid, each.role) for each in found] == [(process.pid, "script")]
    assert found[0].started == processes.started_at(process.pid)


def test_ending_a_node_kills_it_and_nobody_else(script: tuple[ContainerMarks, "subprocess.Popen[bytes]"]) -> None:
    marks, process = script
    with subprocess.Popen([sys.executable, "-c", "input()", f"x{marks.script}"], stdin=subprocess.PIPE) as stranger:
        assert processes.end(marks) == 1
        assert process.wait(10) == -9
        assert stranger.poll() is None
        stranger.kill()
    assert processes.find(marks) == []


def test_a_process_that_is_gone_has_no_start() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert processes.started_at(process.pid) is None
