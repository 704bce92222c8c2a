"""Calling other programs: quiet when they succeed, complete when they fail, never outliving us."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import CommandError
from lab.progress import Step

DETAIL_CHARS = 90


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for programs whose output is read: the C locale, and sbin in the path."""
    path = os.environ.get("PATH", "")
    path = ":".join([*filter(None, [path]), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"])
    return {**os.environ, "PATH": path, "LC_ALL": "C", **(extra or {})}


def run(argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
    """Run a program and return its standard output; with `check`, a failure is a CommandError."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(),
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise CommandError(argv, 127, error.strerror or "can't be run") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, 124, f"no answer within {timeout_s:.0f} s") from error
    if check and done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def tethered(argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` but dies when we do, even if we are killed."""
    return ["setpriv", "--pdeathsig", "KILL", *argv]


def succeeds(argv: Sequence[str], *, timeout_s: float = 30) -> bool:
    """Run a program and return whether it ended with status 0."""
    try:
        run(argv, timeout_s=timeout_s)
    except CommandError:
        return False
    return True


def run_logged(argv: Sequence[str], log: Path, step: Step) -> None:
    """Run a long program with its output in `log` and its newest line in `step`; it dies with us, children included.

    A PID namespace of its own makes sure of that: when `up` is killed, so is `unshare`, and with it the
    first process of the namespace, and with that all others. What it mounted goes with its mount namespace.
    """
    cage = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with log.open("a", encoding="utf-8") as out:
        print("+", *argv, file=out, flush=True)
        with subprocess.Popen(
            tethered([*cage, *argv]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment({"DEBIAN_FRONTEND": "noninteractive"}),
        ) as process:
            tail: list[str] = []
            for line in process.stdout or ():
                out.write(line)
                out.flush()
                if line.strip():
                    step.detail = line.strip()[:DETAIL_CHARS]
                    tail = [*tail[-4:], line.strip()]
    if process.returncode != 0:
        raise CommandError(argv, process.returncode, "\n".join([*tail, f"all of its output is in {log}"]))
