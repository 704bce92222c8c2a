"""Nodes as systemd-nspawn containers: a Debian userland with its own systemd on the host's kernel."""

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import base, installedbase, mounts, processes
from lab.acceleration import Acceleration
from lab.commands import environment, run, succeeds, tethered
from lab.driver import Needs
from lab.errors import LabError
from lab.layout import Layout
from lab.nodefiles import remove_tree, write_node_files
from lab.processes import ContainerMarks, Process
from lab.progress import Progress
from lab.state import Bind, Node, State
from lab.surroundings import Surroundings

REBOOT_STATUS = 133
NODE_MIB = 2048
MEMORY_MIB = 700
CGROUPS = Path("/sys/fs/cgroup")
NSPAWN_RUN = Path("/run/systemd/nspawn")
PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mount": "mount",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
# Device nodes of the node's own: the host's may be readable by nobody else, and their group's number differs.
DEVICES = {"/dev/net/tun": (10, 200), "/dev/kvm": (10, 232), "/dev/vhost-net": (10, 238)}


@dataclass(frozen=True, slots=True)
class ContainerDriver:
    """The `container` driver of one lab."""

    layout: Layout
    surroundings: Surroundings

    @property
    def name(self) -> str:
        """What the state file calls this driver."""
        return "container"

    @property
    def programs(self) -> Mapping[str, str]:
        """The programs that are needed, each with the Debian package it comes in."""
        return PROGRAMS

    @property
    def boot_limit_s(self) -> float:
        """How long a node may take to boot."""
        return 180.0

    def needs(self, state: State) -> Needs:
        """Return what containers take of this machine."""
        missing_mib = installedbase.missing_mib if state.packages == "installed" else base.missing_mib
        base_mib = missing_mib(self.layout.cache, state.release, self.surroundings)
        return Needs(base_mib=base_mib, node_mib=NODE_MIB, memory_mib=MEMORY_MIB)

    def accelerate(self) -> Acceleration | None:
        """Containers run on this machine's own processors."""
        return None

    def problems(self, state: State, missing_nodes: int) -> list[str]:
        """Return what this machine lacks for containers."""
        del state
        if missing_nodes and self._is_noexec(self.layout.checkout):
            return [
                f"{self.layout.checkout} is on a file system mounted with noexec or nodev, where no system can run: "
                "put the checkout on another one"
            ]
        return []

    @staticmethod
    def _is_noexec(folder: Path) -> bool:
        return bool(os.statvfs(folder).f_flag & (os.ST_NOEXEC | os.ST_NODEV))

    def prepare(self, state: State, progress: Progress) -> None:
        """Build the base if it isn't there."""
        build = installedbase.build if state.packages == "installed" else base.build
        build(self.layout.cache, state.release, self.surroundings, progress)

    def _find_base(self, state: State) -> base.Base | None:
        find = installedbase.find if state.packages == "installed" else base.find
        return find(self.layout.cache, state.release, self.surroundings)

    def exists(self, node: str) -> bool:
        """Return whether the node has been made from a base that is still there, the very same build."""
        try:
            folder, build = self._base_of(node)
        except (OSError, ValueError):
            return False
        finished = base.read(folder)
        return (finished is not None and finished.build == build) or build == "copy"

    def make(self, state: State, node: Node) -> None:
        """Make the node's root; the file `base`, written last, says that it is complete and what it stands on."""
        folder = self.layout.node(node.name)
        self.kill(node)
        self.remove(node.name)
        remove_tree(folder)
        folder.mkdir(parents=True, mode=0o700)
        finished = self._find_base(state)
        if finished is None:
            raise LabError(f"the {state.release} base vanished while the lab was made: start again")
        build = finished.build
        if mounts.overlay_works(folder):
            self._mount(node.name, finished.root)
        else:
            copy = ["cp", "--archive", "--reflink=auto", f"{finished.root}/.", str(self._root(node.name))]
            run(tethered(copy), timeout_s=900)
            build = "copy"
        write_node_files(self._root(node.name), self.layout, state, node, self.surroundings)
        self._write_devices(self._root(node.name))
        for bind in state.binds:
            (self._root(node.name) / bind.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        marker = folder / ".base"
        marker.write_text(f"{finished.root.parent}\n{build}\n")
        marker.rename(folder / "base")

    def running(self, node: Node) -> Process | None:
        """Return the node's systemd."""
        return processes.leader(self._marks(node.name, node.machine_id))

    def start(self, state: State, node: Node) -> None:
        """Start the node under a supervisor of its own that starts it again when it reboots."""
        self.kill(node)
        lower, build = self._base_of(node.name)
        if build != "copy" and not os.path.ismount(self._root(node.name)):
            self._mount(node.name, lower / "root")
        command = self._command(node, state.binds)
        if Path("/run/systemd/system").is_dir():
            self._start_unit(node.name, command)
        else:
            self._start_script(node.name, command)

    def kill(self, node: Node | str) -> int:
        """Kill the supervisor, systemd-nspawn and everything inside; the node's disk stays as it is at this moment."""
        name, machine_id = (node, None) if isinstance(node, str) else (node.name, node.machine_id)
        marks = self._marks(name, machine_id)
        running = len(processes.find(marks))
        unit = f"{self.layout.unit(name)}.service"
        if Path("/run/systemd/system").is_dir() and succeeds(["systemctl", "cat", unit]):
            # Stopped first, or systemd might start it again between our kills. KillSignal of the unit is SIGKILL.
            run(["systemctl", "stop", unit], check=False)
            run(["systemctl", "reset-failed", unit], check=False)
        processes.end(marks)
        self._remove_cgroups(name)
        self._remove_traces(name)
        return running

    def remove(self, node: str) -> None:
        """Unmount the node's root."""
        mounts.unmount_below(self.layout.node(node))

    def _remove_traces(self, node: str) -> None:
        """Remove what a killed systemd-nspawn leaves behind; a later start of the node would stumble over it."""
        root = self._root(node)
        if root.is_dir():
            # Its lock's name is made of the root's device and inode.
            place = root.stat()
            (NSPAWN_RUN / "locks" / f"inode-{place.st_dev}:{place.st_ino}").unlink(missing_ok=True)
        for kind in ("propagate", "unix-export"):
            folder = NSPAWN_RUN / kind / self.layout.machine(node)
            mounts.unmount_below(folder)
            remove_tree(folder)

    def leftovers(self, node: str) -> list[str]:
        """Return processes, mounts and cgroups of the node that are still there."""
        found = [f"process {process.pid} of {node}" for process in processes.find(self._marks(node, None))]
        found += [f"mount {point}" for point in mounts.mounted_below(self.layout.node(node))]
        return found + [f"cgroup {folder}" for folder in self._cgroups(node)]

    def console_command(self, node: Node) -> list[str]:
        """Return the command that opens a shell inside the node; its console is written only (console.log)."""
        process = self.running(node)
        if process is None:
            raise LabError(f"{node.name} is not running, so there is no console; what it printed is in console.log")
        return ["nsenter", "--target", str(process.pid), "--all", "--", "/bin/bash", "--login"]

    def console(self, node: str) -> str:
        """Return the last lines that the node (or systemd-nspawn) printed."""
        try:
            text = (self.layout.node(node) / "console.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "nothing"
        return "\n".join(line for line in text.splitlines()[-12:] if line.strip())

    def _root(self, node: str) -> Path:
        return self.layout.node(node) / "root"

    def _marks(self, node: str, machine_id: str | None) -> ContainerMarks:
        return ContainerMarks(self.layout.node(node) / "run.sh", self._root(node), self.layout.unit(node), machine_id)

    def _base_of(self, node: str) -> tuple[Path, str]:
        """Return the base's folder and the id of its build that the node stands on."""
        folder, build = (self.layout.node(node) / "base").read_text().split("\n")[:2]
        return Path(folder), build

    def _mount(self, node: str, lower: Path) -> None:
        folder = self.layout.node(node)
        mounts.mount_overlay(lower, folder / "upper", folder / "work", self._root(node))

    def _write_devices(self, root: Path) -> None:
        lines = [
            f"c {path} 0666 root root - {major}:{minor}\n"
            for path, (major, minor) in DEVICES.items()
            if Path(path).exists()
        ]
        (root / "etc/tmpfiles.d/lab-devices.conf").write_text(f"d /dev/net 0755 root root -\n{''.join(lines)}")

    def _command(self, node: Node, binds: tuple[Bind, ...]) -> list[str]:
        """Return the command that boots the node.

        Not registered with a machine manager, which a host without systemd hasn't got; all system calls and
        capabilities, since libvirt and qemu are to run inside; a machine id known beforehand.
        """
        return [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self._root(node.name)}",
            f"--machine={self.layout.machine(node.name)}",
            f"--hostname={node.name}",
            f"--uuid={node.machine_id}",
            "--boot",
            "--register=no",
            "--keep-unit",
            f"--network-bridge={self.layout.bridge}",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=read-only",
            "--capability=all",
            "--system-call-filter=@known",
            *(f"--bind-ro={_colons(bind.source)}:{_colons(bind.target)}" for bind in binds),
        ]

    def _start_unit(self, node: str, command: list[str]) -> None:
        """Run the node as a transient unit; systemd starts it again when it ends with the status of a reboot."""
        properties = (
            "Delegate=yes", "KillMode=mixed", "KillSignal=SIGKILL", "TasksMax=infinity",
            f"RestartForceExitStatus={REBOOT_STATUS}", f"SuccessExitStatus={REBOOT_STATUS}",
            f"StandardOutput=append:{self.layout.node(node)}/console.log", "StandardError=inherit",
        )  # fmt: skip
        run(
            [
                "systemd-run",
                "--quiet",
                "--collect",
                "--service-type=exec",
                f"--unit={self.layout.unit(node)}",
                f"--description=etcd-compute lab {self.layout.name}: {node}",
                "--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
                *(f"--property={each}" for each in properties),
                *command,
            ]
        )

    def _start_script(self, node: str, command: list[str]) -> None:
        """Run the node under a script that does what systemd would: a cgroup of its own, and a start after a reboot."""
        folder = self.layout.node(node)
        script = folder / "run.sh"
        script.write_text(supervisor_script(self.layout.unit(node), command))
        for group in self._cgroup_roots():
            (group / self.layout.unit(node)).mkdir(exist_ok=True)
        with (folder / "console.log").open("ab") as log:
            subprocess.Popen(
                ["/bin/sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={**environment(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )

    @staticmethod
    def _cgroup_roots() -> list[Path]:
        """Return the hierarchies in which a node without a systemd unit gets a cgroup: those nspawn looks at."""
        roots = [CGROUPS / "systemd", CGROUPS / "unified", CGROUPS]
        return [root for root in roots if (root / "cgroup.procs").exists()]

    def _cgroups(self, node: str) -> list[Path]:
        """Return the node's cgroups that this driver made, deepest first."""
        tops = (root / self.layout.unit(node) for root in self._cgroup_roots())
        found = [folder for top in tops if top.is_dir() for folder in (top, *top.rglob("*")) if folder.is_dir()]
        return sorted(found, key=lambda folder: len(folder.parts), reverse=True)

    def _remove_cgroups(self, node: str) -> None:
        """Remove the node's cgroups; the kernel needs a moment after the last process of one."""
        deadline = time.monotonic() + 5
        while remaining := self._cgroups(node):
            for folder in remaining:
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        return
            time.sleep(0.02)


def supervisor_script(unit: str, command: list[str]) -> str:
    """Return the shell script that keeps a node running across its own reboots, on a host without systemd."""
    return f"""\
#!/bin/sh
# Runs one node of an etcd-compute lab. Status {REBOOT_STATUS} of systemd-nspawn means that the node asked for a reboot.
while :; do
    (
        self=$(exec sh -c 'echo "$PPID"')
        for group in {CGROUPS}/systemd {CGROUPS}/unified {CGROUPS}; do
            [ -d "$group/{unit}" ] && echo "$self" >"$group/{unit}/cgroup.procs"
        done
        exec {shlex.join(command)}
    )
    [ $? = {REBOOT_STATUS} ] || break
    find {CGROUPS}/*/{unit} {CGROUPS}/{unit} -mindepth 1 -depth -type d -exec rmdir {{}} + 2>/dev/null
done
"""


def _colons(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:")
