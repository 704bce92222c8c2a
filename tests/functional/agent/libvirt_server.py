"""A libvirtd of the tests' own: the real one, in namespaces of its own, that leaves this machine's alone.

Its mounts are private (/etc/libvirt, /var/lib/libvirt, /var/cache/libvirt and /run lie in the test's directory or in
memory), so is its network (libvirt's NAT bridge, dnsmasq and firewall rules are seen by nobody else) and its processes:
ending the first one ends every guest and helper.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.functional.frozen import await_stopped

START_TIMEOUT_S = 30.0

# The first process: sets up, says so, and reaps what libvirtd leaves behind.
_INIT = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
open(sys.argv[1], "w").close()
while True:
    signal.sigwait([signal.SIGCHLD])
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
_SET_UP = """
set -eu
mount --make-rprivate /
for each in etc lib cache; do mkdir -p "$1/$each"; done
cp -r /etc/libvirt/. "$1/etc/"
cp "$1/qemu.conf" "$1/etc/qemu.conf"
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/cache" /var/cache/libvirt
mount -t tmpfs tmpfs /run
ip link set lo up
exec "$2" -c "$3" "$1/ready"
"""
_QEMU_CONF = """
cgroup_controllers = []
security_driver = "none"
stdio_handler = "file"
user = "root"
group = "root"
"""
_LIBVIRTD_CONF = """
unix_sock_dir = "{sockets}"
unix_sock_rw_perms = "0777"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:file:{directory}/libvirtd.log"
"""


def as_root() -> list[str]:
    """Return what a command needs in front to run as root."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


class LibvirtServer:
    """One libvirtd, to start, kill and freeze. Its guests survive it until `close`, or `reboot_host`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The path of a socket may have some 100 characters.
        self._sockets = Path("/tmp") / f"etcdcompute-test-{os.getpid()}-{id(self):x}"
        self._holder: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """What libvirt's clients connect to."""
        return f"qemu+unix:///system?socket={self._sockets}/libvirt-sock"

    @property
    def init_pid(self) -> int:
        """The first process of the namespaces."""
        assert self._holder is not None
        # unshare forks into the new process namespace, and sudo for itself.
        return _first_below(self._holder.pid, "sudo", "unshare")

    def boot(self) -> None:
        """Make the namespaces and start libvirtd in them."""
        self._sockets.mkdir(mode=0o755, exist_ok=True)
        (self._directory / "qemu.conf").write_text(_QEMU_CONF)
        conf = self._directory / "libvirtd.conf"
        conf.write_text(_LIBVIRTD_CONF.format(sockets=self._sockets, directory=self._directory))
        ready = self._directory / "ready"
        ready.unlink(missing_ok=True)
        unshare = ["unshare", "--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
        shell = ["sh", "-c", _SET_UP, "set-up", str(self._directory), sys.executable, _INIT]
        self._holder = subprocess.Popen([*as_root(), *unshare, *shell], stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            assert self._holder.poll() is None, "the namespaces could not be made"
            assert time.monotonic() < until
            time.sleep(0.02)
        self.start()

    def run(self, *command: str) -> str:
        """Run a command where libvirtd and its guests live; return what it printed."""
        return subprocess.run([*self._enter(), *command], check=True, stdout=subprocess.PIPE, text=True).stdout

    def _enter(self) -> list[str]:
        return [*as_root(), "nsenter", f"--target={self.init_pid}", "--mount", "--net", "--pid"]

    def start(self) -> None:
        """Start libvirtd and wait until it accepts connections."""
        program = ["libvirtd", "--config", str(self._directory / "libvirtd.conf")]
        self._daemon = subprocess.Popen([*self._enter(), *program])
        until = time.monotonic() + START_TIMEOUT_S
        while not self._accepts():
            assert self._daemon.poll() is None, f"libvirtd ended: see {self._directory}/libvirtd.log"
            assert time.monotonic() < until, "libvirtd does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        """End libvirtd as a crash would; guests go on."""
        assert self._daemon is not None
        self._send(signal.SIGKILL)
        self._daemon.wait(START_TIMEOUT_S)
        self._daemon = None

    def freeze(self) -> None:
        """Suspend libvirtd: connections stay open and nothing answers."""
        self._send(signal.SIGSTOP)
        await_stopped(self._pid)

    def thaw(self) -> None:
        """Let a frozen libvirtd go on."""
        assert self._daemon is not None
        # nsenter stops itself when its child is stopped.
        send(_first_below(self._daemon.pid, "sudo"), signal.SIGCONT)
        self._send(signal.SIGCONT)

    def _send(self, what: signal.Signals) -> None:
        send(self._pid, what)

    @property
    def _pid(self) -> int:
        """The daemon's own process."""
        assert self._daemon is not None
        # nsenter forks to enter the process namespace, and sudo for itself.
        return _first_below(self._daemon.pid, "sudo", "nsenter")

    def shut_down_host(self) -> None:
        """End everything at once, as a power cut would; definitions and files stay."""
        assert self._holder is not None
        subprocess.run([*as_root(), "kill", "-KILL", str(self.init_pid)], check=True)
        self._holder.wait(START_TIMEOUT_S)
        if self._daemon is not None:
            self._daemon.wait(START_TIMEOUT_S)
        self._holder = self._daemon = None

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._holder is not None:
            self.shut_down_host()
        shutil.rmtree(self._sockets, ignore_errors=True)
        # libvirt's files are root's.
        subprocess.run(
            [*as_root(), "rm", "-rf", *(str(self._directory / d) for d in ("etc", "lib", "cache"))], check=True
        )

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self._sockets}/libvirt-sock") == 0


def _first_below(pid: int, *programs: str) -> int:
    """Go down from parent to first child until it is none of these programs."""
    while Path(f"/proc/{pid}/comm").read_text().strip() in programs:
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


def send(pid: int, what: signal.Signals) -> None:
    """Send a signal, as root where needed."""
    subprocess.run([*as_root(), "kill", f"-{what.name.removeprefix('SIG')}", str(pid)], check=True)
