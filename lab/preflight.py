"""Everything that would stand in the way, found before anything is changed."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lab import subnet as subnets
from lab.commands import environment, run
from lab.container import PROGRAMS
from lab.driver import Driver, Needs
from lab.errors import LabError
from lab.progress import Progress
from lab.state import State
from lab.surroundings import Surroundings, fetch_surroundings


def missing_programs(programs: Mapping[str, str] = PROGRAMS) -> dict[str, str]:
    """Return the programs that are missing, each with the Debian package it comes in."""
    path = environment()["PATH"]
    return {program: package for program, package in programs.items() if shutil.which(program, path=path) is None}


def program_problems(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Return a sentence about missing programs, if any are."""
    missing = missing_programs(programs)
    if not missing:
        return []
    packages = " ".join(sorted(set(missing.values())))
    return [
        f"programs are missing ({', '.join(sorted(missing))}): "
        f"`apt-get install {packages}`, or `python3 -m lab check --install`"
    ]


def install_programs(progress: Progress, programs: Mapping[str, str] = PROGRAMS) -> None:
    """Install the packages of the missing programs with apt-get."""
    packages = sorted(set(missing_programs(programs).values()))
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"this machine has no apt-get: install {', '.join(packages)} the way it is done here")
    with progress.step(f"installing {' '.join(packages)}"):
        env = ["env", "DEBIAN_FRONTEND=noninteractive"]
        run([*env, "apt-get", "update", "-q"], timeout_s=600)
        run([*env, "apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], timeout_s=1200)


def disk_problems(folder: Path, needs: Needs, *, missing_nodes: int) -> list[str]:
    """Return a sentence if the disk hasn't room for what is still to be made."""
    needed = needs.base_mib + needs.node_mib * missing_nodes
    while not folder.exists():
        folder = folder.parent
    available = shutil.disk_usage(folder).free // 2**20
    if available >= needed:
        return []
    return [
        f"too little disk at {folder}: {needed} MiB needed (base {needs.base_mib}, "
        f"{missing_nodes} nodes of {needs.node_mib}), {available} MiB available: free some, or use fewer nodes"
    ]


def memory_problems(needs: Needs, starting_nodes: int) -> list[str]:
    """Return a sentence if the memory is too small for the nodes that are still to be started."""
    needed = needs.memory_mib * starting_nodes
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) // 1024
            if available < needed:
                return [
                    f"too little memory: {starting_nodes} nodes need {needed} MiB, {available} MiB are available: "
                    "end something, or use fewer or smaller nodes"
                ]
    return []


def subnet_problems(state: State, surroundings: Surroundings) -> list[str]:
    """Return a sentence if the lab's subnet is used by something else on this machine."""
    used = subnets.fetch_used(ignore_device=state.bridge, nameservers=surroundings.nameservers)
    if others := subnets.overlapping(state.network, used):
        return [
            f"the subnet {state.subnet} collides with {', '.join(others)} on this machine: "
            "take another with --subnet (or --subnet auto), for an existing lab after `down`"
        ]
    return []


def privilege_problems() -> list[str]:
    """Return a sentence if we are not root (the command line has tried sudo before)."""
    if os.geteuid() == 0:
        return []
    return ["root is needed to make bridges and containers: run this as root, or with sudo"]


def network_problems(surroundings: Surroundings) -> list[str]:
    """Return a sentence if the nodes could not resolve names."""
    if surroundings.nameservers:
        return []
    return [
        "no name server that nodes could reach: /etc/resolv.conf names only loopback or IPv6 addresses, "
        "put `nameserver ADDRESS` with an IPv4 address into it"
    ]


def machine_problems(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Return what this machine lacks whatever the lab, in sentences; needs no root."""
    return [*program_problems(programs), *network_problems(fetch_surroundings()), *device_problems()]


def device_problems() -> list[str]:
    """Return a sentence if there is no TUN device."""
    if Path("/dev/net/tun").exists():
        return []
    return ["there is no /dev/net/tun, which the nodes' networks for virtual machines need: `modprobe tun` makes it"]


def find_problems(
    state: State,
    surroundings: Surroundings,
    driver: Driver,
    *,
    folder: Path,
    missing: Sequence[str],
    stopped: Sequence[str],
    bridge_is_up: bool,
) -> list[str]:
    """Return everything that would stop `up`; empty when it can go ahead."""
    problems = [*privilege_problems(), *program_problems(driver.programs), *network_problems(surroundings)]
    problems += device_problems() if missing else []
    problems += [] if bridge_is_up else subnet_problems(state, surroundings)
    needs = driver.needs(state)
    problems += disk_problems(folder, needs if missing else replace(needs, base_mib=0), missing_nodes=len(missing))
    problems += memory_problems(needs, len(stopped))
    problems += [
        f"--bind {bind.source}: there is no such file or directory"
        for bind in state.binds
        if not Path(bind.source).exists()
    ]
    return problems + driver.problems(state, len(missing))
