"""Finding a node's processes without trusting a stored process id, and ending exactly those.

A machine is one process, its QEMU. A container is up to four kinds of process: the script that starts it again after a
reboot, systemd-nspawn, the node's own first process (its leader) and everything below that. When systemd-nspawn is
killed the leader lives on, so each is looked for by a mark of its own: the paths in the command line for the first two
(in our own PID namespace only, since a node may contain a lab of its own), the machine id in the environment or the
cgroup's name for the leader.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.errors import LabError

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its id, when it started (clock ticks after the boot) and what it is to its node."""

    pid: int
    started: int
    role: str  # "script", "nspawn", "leader" or "member"


class Marks(Protocol):
    """What identifies one node's processes."""

    @property
    def unit(self) -> str:
        """The node's name in messages, one of its own on this machine."""

    def role(self, folder: Path, arguments: list[str]) -> str | None:
        """Return what the process in /proc's `folder`, of our own PID namespace or below, is to the node."""


@dataclass(frozen=True, slots=True)
class ContainerMarks:
    """What identifies a container's processes."""

    script: Path
    root: Path
    unit: str
    machine_id: str | None

    def role(self, folder: Path, arguments: list[str]) -> str | None:
        """See `Marks`."""
        if _is_in_our_namespace(folder):
            if str(self.script) in arguments[:3]:
                return "script"
            if f"--directory={self.root}" in arguments and Path(arguments[0]).name == "systemd-nspawn":
                return "nspawn"
            return None  # all others of the node are in the node's PID namespace
        innermost = re.search(r"^NSpid:\s+\d+\s+1$", (folder / "status").read_text(), re.MULTILINE)
        if innermost and self.machine_id:
            uuid = f"container_uuid={dashed(self.machine_id)}".encode()
            if uuid in (folder / "environ").read_bytes().split(b"\0"):
                return "leader"
        group = rf"[:/]{re.escape(self.unit)}(\.service)?(/|$)"
        if re.search(group, (folder / "cgroup").read_text(), re.MULTILINE):
            return "leader" if innermost else "member"
        return None


@dataclass(frozen=True, slots=True)
class MachineMarks:
    """What identifies a machine's QEMU: the file that it was told to write its process id to."""

    pidfile: Path
    unit: str

    def role(self, folder: Path, arguments: list[str]) -> str | None:
        """See `Marks`. A QEMU inside a node may have the same arguments, but not our PID namespace."""
        is_ours = str(self.pidfile) in arguments and Path(arguments[0]).name.startswith("qemu-system-")
        return "leader" if is_ours and _is_in_our_namespace(folder) else None


def _is_in_our_namespace(folder: Path) -> bool:
    return (folder / "ns" / "pid").readlink() == (PROC / "self" / "ns" / "pid").readlink()


def started_at(pid: int) -> int | None:
    """Return when the process started in clock ticks after the boot, None if there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def find(marks: Marks) -> list[Process]:
    """Return all processes of the node, those that would start others first."""
    found = [process for pid in _pids() if (process := _classify(pid, marks)) is not None]
    order = ("script", "nspawn", "leader", "member")
    return sorted(found, key=lambda process: (order.index(process.role), process.pid))


def leader(marks: Marks) -> Process | None:
    """Return the node's own first process, None while there is none."""
    return next((process for process in find(marks) if process.role == "leader"), None)


def end(marks: Marks, within_s: float = 20) -> int:
    """Kill all processes of the node as a power cut would; return how many there were, an error if some stay."""
    deadline = time.monotonic() + within_s
    killed: set[tuple[int, int]] = set()
    while processes := find(marks):
        for process in processes:
            if _kill(process, marks):
                killed.add((process.pid, process.started))
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in processes)
            raise LabError(f"processes {pids} of {marks.unit} are still there {within_s:.0f} s after SIGKILL")
        time.sleep(0.05)
    return len(killed)


def _kill(process: Process, marks: Marks) -> bool:
    """Kill a process, making sure through a pidfd that it is still the one that was found."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        again = _classify(process.pid, marks)
        if again is None or again.started != process.started:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _pids() -> Iterator[int]:
    for entry in os.scandir(PROC):
        if entry.name.isdecimal():
            yield int(entry.name)


def _classify(pid: int, marks: Marks) -> Process | None:
    """Return what the process is to the node, None for a stranger, a kernel thread or one that just ended."""
    if pid == os.getpid():
        return None
    folder = PROC / str(pid)
    try:
        arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        role = marks.role(folder, arguments) if arguments[0] else None
    except OSError:
        return None
    started = started_at(pid) if role else None
    return Process(pid, started, role) if role and started is not None else None


def dashed(machine_id: str) -> str:
    """Return a machine id as a UUID is written."""
    return "-".join((machine_id[:8], machine_id[8:12], machine_id[12:16], machine_id[16:20], machine_id[20:]))
