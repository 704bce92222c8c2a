"""What the machine has: processors, memory, disk, versions. Reads; decides nothing."""

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from etcdcompute.errors import Unavailable

_PROC = Path("/proc")
_KIB_PER_MIB = 1024
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Machine:
    """Totals, before anything is reserved: processors, memory in MiB, disk for images and instances in GiB."""

    vcpu: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A filesystem: its size, and what of it others than root may still fill."""

    total_bytes: int
    free_bytes: int


def read_disk(state_dir: Path) -> Disk:
    """Return the filesystem that `state_dir` lies on."""
    filesystem = os.statvfs(state_dir)
    return Disk(filesystem.f_frsize * filesystem.f_blocks, filesystem.f_frsize * filesystem.f_bavail)


def read_machine(state_dir: Path) -> Machine:
    """Return what there is; the disk is the whole filesystem that `state_dir` lies on."""
    return Machine(
        vcpu=len(os.sched_getaffinity(0)),
        memory_mib=parse_memory_mib((_PROC / "meminfo").read_text()),
        disk_gib=read_disk(state_dir).total_bytes // _GIB,
    )


def read_cpu_flags() -> frozenset[str]:
    """Return the processor's flags, by the kernel's names."""
    return parse_cpu_flags((_PROC / "cpuinfo").read_text())


def parse_memory_mib(meminfo: str) -> int:
    """Return MemTotal of /proc/meminfo in MiB."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) // _KIB_PER_MIB
    raise Unavailable("/proc/meminfo does not say how much memory there is")


def parse_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Return the flags that /proc/cpuinfo gives the first processor."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def kernel_release() -> str:
    """Return the kernel's version as `uname -r` would print it."""
    return platform.release()


def own_address(endpoint: str) -> str:
    """Return the address this host has towards `endpoint` (a URL); "" where it has none. Nothing is sent."""
    parts = urlsplit(endpoint)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 0, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return ""
