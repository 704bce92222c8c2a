"""A lab comes and goes, and the machine is as it was: links, rules, mounts, processes and files."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
NAME = "leaves-nothing"


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def lab(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lab", *arguments, "--name", NAME]


def run_lab(*arguments: str) -> None:
    done = subprocess.run(lab(*arguments), cwd=PROJECT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def processes() -> set[str]:
    """Return the command lines of all processes that have to do with a container of this checkout's lab."""
    folder = str(PROJECT / ".lab" / NAME)
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in line:
                found.add(line)
    return found


def state_of_the_machine() -> dict[str, object]:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return {
        "links": output("ip", "-brief", "link"),
        "addresses": output("ip", "-brief", "address"),
        "routes": output("ip", "route"),
        "rules": output(*sudo, "nft", "list", "ruleset"),
        # Without those of other tests, which may run beside these.
        "mounts": sorted(
            line for line in Path("/proc/self/mounts").read_text().splitlines() if "/pytest-of-" not in line
        ),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "processes": processes(),
        "files": (PROJECT / ".lab" / NAME).exists(),
    }


@pytest.fixture
def before() -> Iterator[dict[str, object]]:
    """The machine as it is once the base that nodes are made from is there, which stays."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", "base"], cwd=PROJECT, capture_output=True, text=True, timeout=840, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run_lab("down")
    yield state_of_the_machine()
    run_lab("down")


@pytest.mark.timeout(1500)
def test_up_again_and_down(before: dict[str, object]) -> None:
    run_lab("up", "--nodes", "one,two")
    assert state_of_the_machine() != before
    run_lab("status")
    running = state_of_the_machine()
    run_lab("up", "--nodes", "one,two")
    assert state_of_the_machine() == running
    run_lab("down")
    assert state_of_the_machine() == before


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("after_s", [0.3, 0.8, 1.6])
def test_down_cleans_up_behind_an_up_that_was_killed(before: dict[str, object], after_s: float) -> None:
    with subprocess.Popen(
        lab("up", "--nodes", "one,two"),
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as up:
        # Not waiting for anything: the moment itself is what is tried.
        time.sleep(after_s)
        os.killpg(up.pid, signal.SIGKILL)
    run_lab("down")
    assert state_of_the_machine() == before
