"""Nodes as QEMU machines: each with a kernel, a disk, a clock and a serial console of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import console, initramfs, machinebase, processes, taps
from lab.acceleration import QEMU, Acceleration, choose
from lab.commands import environment, run
from lab.container import PROGRAMS as CONTAINER_PROGRAMS
from lab.driver import Needs
from lab.errors import LabError
from lab.layout import Layout
from lab.nodefiles import remove_tree, write_node_files
from lab.processes import MachineMarks, Process
from lab.progress import Progress
from lab.sizes import DEFAULT
from lab.state import Bind, Node, State
from lab.surroundings import Surroundings

PROGRAMS = {
    # The machines' base is made from the containers', and so with the same programs.
    **CONTAINER_PROGRAMS,
    QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mke2fs": "e2fsprogs",
}
# What a node's disk grows by until the stack runs and has run a few instances.
_DISK_MIB = 1500
# What QEMU takes besides the node's memory: mostly translated code.
_QEMU_MIB = 350
# net.ifnames=0: the one card is eth0. The rest saves time where every instruction is emulated: the kernel is not moved
# to a random address, ciphers nobody uses are not tested, BIOS disks are not asked for, and nobody attacks a lab.
# no_timer_check: on a loaded machine the kernel's check of its emulated timer can fail, and then it panics.
# panic: as servers are set up; why stands in the console's log.
_COMMAND_LINE = (
    "console=ttyS0,115200 root=/dev/vda rw quiet net.ifnames=0 nokaslr cryptomgr.notests no_timer_check "
    "random.trust_cpu=on mitigations=off edd=off systemd.ssh_auto=no panic=10"
)


@dataclass(frozen=True, slots=True)
class QemuDriver:
    """The `vm` driver of one lab."""

    layout: Layout
    surroundings: Surroundings

    @property
    def name(self) -> str:
        """What the state file calls this driver."""
        return "vm"

    @property
    def programs(self) -> Mapping[str, str]:
        """The programs that are needed, each with the Debian package it comes in."""
        return PROGRAMS

    @property
    def boot_limit_s(self) -> float:
        """Three emulated machines that boot at once on two busy processors take minutes."""
        return 900.0

    def needs(self, state: State) -> Needs:
        """Return what nodes of this size take of this machine."""
        sizes = state.sizes or DEFAULT
        return Needs(
            base_mib=machinebase.missing_mib(self.layout.cache, state.release, self.surroundings),
            node_mib=_DISK_MIB,
            memory_mib=sizes.memory_mib + _QEMU_MIB,
        )

    def problems(self, state: State, missing_nodes: int) -> list[str]:
        """Return what this machine lacks for machines."""
        if not missing_nodes:
            return []
        found = []
        if os.uname().machine != "x86_64":
            found.append(f"nodes that are machines are x86_64 ones, this machine is {os.uname().machine}")
        found += [
            f"--bind {bind.source} is a file: machines are shown folders only"
            for bind in state.binds
            if Path(bind.source).is_file()
        ]
        return found

    def accelerate(self) -> Acceleration | None:
        """Return what runs the nodes' instructions, by a probe."""
        return choose()

    def prepare(self, state: State, progress: Progress) -> None:
        """Build the base if it isn't there, and the disks that show the nodes what is bound."""
        base = machinebase.build(self.layout.cache, state.release, self.surroundings, progress)
        base = machinebase.with_release(base, state.release, progress)
        self._chosen.write_text(f"{base.folder}\n")
        for number, bind in enumerate(state.binds):
            if not self._bind_image(number).exists():
                with progress.step(f"a disk with what is in {bind.source}"):
                    self._make_bind_image(number, bind)

    def exists(self, node: str) -> bool:
        """Return whether the node has been made from a base that is still there, the very same build."""
        try:
            base = self._base_of(node)
        except (OSError, ValueError):
            return False
        return base is not None and self._disk(node).exists()

    def make(self, state: State, node: Node) -> None:
        """Make the node's disk; the file `base`, written last, says that it is complete and what it stands on."""
        folder = self.layout.node(node.name)
        self.kill(node)
        remove_tree(folder)
        folder.mkdir(parents=True, mode=0o700)
        base = machinebase.read(Path(self._chosen.read_text().strip()))
        if base is None:
            raise LabError(f"the {state.release} machine vanished while the lab was made: start again")
        with tempfile.TemporaryDirectory(prefix=".files-", dir=folder) as name:
            files = Path(name)
            (files / "root").mkdir(mode=0o700)
            write_node_files(files, self.layout, state, node, self.surroundings)
            (files / "etc/fstab").write_text(fstab(state.binds))
            for bind in state.binds:
                (files / bind.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
            (folder / "initrd").write_bytes(base.initrd.read_bytes() + initramfs.node_archive(files))
        (folder / "initrd").chmod(0o600)  # it holds the node's private key
        shutil.copyfile(base.kernel, folder / "vmlinuz")
        size = f"{(state.sizes or DEFAULT).disk_gib}G"
        run(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-b",
                str(base.disk),
                "-F",
                "raw",
                str(self._disk(node.name)),
                size,
            ]
        )
        marker = folder / ".base"
        marker.write_text(f"{base.folder}\n{base.build}\n")
        marker.rename(folder / "base")

    def running(self, node: Node) -> Process | None:
        """Return the node's QEMU."""
        return next(iter(processes.find(self._marks(node.name))), None)

    def start(self, state: State, node: Node) -> None:
        """Start the node's QEMU; a reboot inside resets it, so nothing has to start it again."""
        self.kill(node)
        acceleration = Acceleration(state.acceleration, "") if state.acceleration else choose()
        device = taps.make(self.layout, node.name, self.surroundings.mtu)
        folder = self.layout.node(node.name)
        with (folder / "qemu.log").open("ab") as log:
            process = subprocess.Popen(
                self._command(state, node, acceleration, device),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,  # the console's socket has a short path there
                env=environment(),
            )
        try:
            # It goes on running; one that cannot start ends at once, and says why.
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            return
        raise LabError(f"{node.name} cannot be started: {_tail(folder / 'qemu.log', 3)}")

    def kill(self, node: Node | str) -> int:
        """Kill the node's QEMU: what it had not written to its disk is lost, as in a power cut."""
        name = node if isinstance(node, str) else node.name
        ended = processes.end(self._marks(name))
        taps.remove(self.layout, name)
        return ended

    def remove(self, node: str) -> None:
        """Remove the node's card; all else is in its folder."""
        taps.remove(self.layout, node)

    def leftovers(self, node: str) -> list[str]:
        """Return processes and cards of the node that are still there."""
        found = [f"process {process.pid} of {node}" for process in processes.find(self._marks(node))]
        return found + ([f"network device {taps.name(self.layout, node)}"] if taps.exists(self.layout, node) else [])

    def console(self, node: str) -> str:
        """Return the last lines that the node and its QEMU printed."""
        folder = self.layout.node(node)
        return "\n".join(filter(None, (_tail(folder / "console.log", 12), _tail(folder / "qemu.log", 3)))) or "nothing"

    def console_command(self, node: Node) -> list[str]:
        """Return the command that is the node's serial console."""
        return [sys.executable, console.__file__, str(self.layout.node(node.name) / "console.sock")]

    @property
    def _chosen(self) -> Path:
        """The file that names the base that new nodes are made from, of several with different programs in them."""
        return self.layout.folder / "machine"

    def _disk(self, node: str) -> Path:
        return self.layout.node(node) / "disk.qcow2"

    def _marks(self, node: str) -> MachineMarks:
        return MachineMarks(self.layout.node(node) / "qemu.pid", self.layout.unit(node))

    def _base_of(self, node: str) -> machinebase.MachineBase | None:
        """Return the base that the node stands on, None where that is another build by now."""
        folder, build = (self.layout.node(node) / "base").read_text().split("\n")[:2]
        base = machinebase.read(Path(folder))
        return base if base is not None and base.build == build else None

    def _bind_image(self, number: int) -> Path:
        return self.layout.folder / f"bind{number}.img"

    def _make_bind_image(self, number: int, bind: Bind) -> None:
        source, image = Path(bind.source), self._bind_image(number)
        used = sum(path.lstat().st_size + 4096 for path in source.rglob("*"))
        partial = image.with_suffix(".new")
        size_mib = used * 11 // 10 // 2**20 + 16
        run(machinebase.make_file_system(source, partial, size_mib, journal=False), timeout_s=600)
        partial.rename(image)

    def _command(self, state: State, node: Node, acceleration: Acceleration, device: str) -> list[str]:
        sizes = state.sizes or DEFAULT
        folder = self.layout.node(node.name)
        drives = []
        for image, options in (
            # A flush goes to this machine's page cache and no further: it survives the node, which is all that can die.
            (self._disk(node.name), "format=qcow2,cache=unsafe,discard=unmap"),
            *((self._bind_image(number), "format=raw,readonly=on") for number in range(len(state.binds))),
        ):
            drives += ["-drive", f"file={_commas(image)},if=virtio,{options}"]
        return [
            QEMU, "-name", f"guest={self.layout.machine(node.name)}", "-pidfile", str(folder / "qemu.pid"),
            *acceleration.arguments, "-machine", "pc", "-smp", str(sizes.cpus), "-m", str(sizes.memory_mib),
            "-uuid", processes.dashed(node.machine_id), "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd"), "-append", _COMMAND_LINE,
            *drives,
            "-netdev", f"tap,id=net,ifname={device},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={taps.mac(self.layout, node.name)},rombar=0",
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
            "-chardev", "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log,logappend=on",
            "-serial", "chardev:console",
        ]  # fmt: skip


def fstab(binds: tuple[Bind, ...]) -> str:
    """Return a node's /etc/fstab: its disk, whose file system grows to the disk's end, and a disk per bind."""
    lines = ["/dev/vda / ext4 defaults,noatime,x-systemd.growfs 0 0"]
    for number, bind in enumerate(binds):
        target = bind.target.replace("\\", "\\134").replace(" ", "\\040")
        lines.append(f"/dev/vd{chr(ord('b') + number)} {target} ext4 ro,noatime 0 0")
    return "".join(f"{line}\n" for line in lines)


def _commas(path: Path) -> str:
    """Return a path as QEMU's options want it."""
    return str(path).replace(",", ",,")


def _tail(path: Path, lines: int) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(line for line in text.splitlines()[-lines:] if line.strip())
