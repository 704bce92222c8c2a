"""Suspending a server: connections stay open and nothing answers."""

import os
import signal
from pathlib import Path

from tests.functional.waiting import eventually


def freeze(pid: int) -> None:
    """Send SIGSTOP to a process, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    await_stopped(pid)


def await_stopped(pid: int) -> None:
    """Wait until all threads of a process have stopped.

    SIGSTOP alone is no more than a request: on a busy machine threads go on, and answer, until one of them takes it.
    """
    eventually(lambda: all(_state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()), f"{pid} to stop")


def _state(task: Path) -> str:
    """Return the letter behind the name, which may have any characters; "X" for a thread that has just ended."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
