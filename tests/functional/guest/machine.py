"""A qemu machine, emulated, with the guest image in it: its console, its SSH, its power button."""

import io
import json
import re
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pycdlib

from tests.functional.ports import free_ports

# An idle machine needs 4 s; a loaded one, or one that is emulated itself, much more.
BOOT_TIMEOUT_S = 120.0


def write_seed(path: Path, documents: Mapping[str, str]) -> Path:
    """An ISO 9660 image labelled cidata, as the agent writes it."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in documents.items():
        data = text.encode()
        plain = f"/{name.upper().replace('-', '_')}.;1"
        iso.add_fp(io.BytesIO(data), len(data), plain, rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()
    return path


def make_key(path: Path) -> str:
    """A new SSH key pair at `path`; gives back the public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


class Machine:
    """Runs while its `with` block does; a machine that ended by itself is left alone."""

    def __init__(
        self,
        disk: Path,
        directory: Path,
        *,
        seed: Sequence[str] = (),
        board: str = "pc",
        cpu: str = "max",
        cpus: int = 1,
        memory_mib: int = 128,
        address: str = "10.0.2.15",
    ) -> None:
        """`seed` are qemu's arguments that attach it, `address` the guest's in qemu's user network."""
        self._directory = directory
        self._port = free_ports(1)[0]
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._closed = False
        self._qmp = directory / "qmp"
        self._qmp.unlink(missing_ok=True)
        self._command = [
            "qemu-system-x86_64", "-accel", "tcg", "-machine", board, "-cpu", cpu, "-smp", str(cpus),
            "-m", str(memory_mib), "-nodefaults", "-display", "none", "-serial", "stdio",
            "-qmp", f"unix:{self._qmp},server=on,wait=off",
            "-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe",
            "-device", "virtio-rng-pci",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self._port}-{address}:22",
            "-device", "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56",
            *seed,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, name="console")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for_line(self, pattern: str, *, times: int = 1) -> re.Match[str]:
        """The console's line that matches, the `times`-th of them; fails with the console's end if it does not come."""

        def found() -> re.Match[str] | None:
            matches = [match for line in self._lines if (match := re.search(pattern, line))]
            return matches[times - 1] if len(matches) >= times else None

        with self._changed:
            self._changed.wait_for(lambda: found() or self._closed, timeout=BOOT_TIMEOUT_S)
            match = found()
            assert match is not None, f"no line {pattern!r}; the console ends with: {self._lines[-15:]}"
            return match

    def wait_ready(self, *, times: int = 1) -> tuple[str, str]:
        """The name and the address of the line that ends a boot."""
        match = self.wait_for_line(r"^etcdcompute-guest: (\S+) ready, address (\S+)$", times=times)
        return match[1], match[2]

    def ssh(self, command: str, *, key: Path, new_host: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command as root; the host key must be the known one unless `new_host`."""
        known = self._directory / "known_hosts"
        if new_host:
            known.unlink(missing_ok=True)
        options = {
            "BatchMode": "yes", "IdentitiesOnly": "yes", "ConnectTimeout": "60", "LogLevel": "ERROR",
            "HostKeyAlias": "guest", "UserKnownHostsFile": str(known),
            "StrictHostKeyChecking": "accept-new" if new_host else "yes",
        }  # fmt: skip
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        return subprocess.run(
            ["ssh", "-F", "none", *flags, "-i", str(key), "-p", str(self._port), "root@127.0.0.1", command],
            capture_output=True, text=True, timeout=BOOT_TIMEOUT_S, check=False,
        )  # fmt: skip

    def output_of(self, command: str, *, key: Path, new_host: bool = False) -> str:
        """What a command prints; it must succeed."""
        done = self.ssh(command, key=key, new_host=new_host)
        assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def press_power_button(self) -> int:
        """Press it and wait for the machine's end: qemu's exit status."""
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as stream:
            connection.connect(str(self._qmp))
            stream.readline()
            for command in ("qmp_capabilities", "system_powerdown"):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                stream.readline()
        return self._process.wait(timeout=BOOT_TIMEOUT_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            with self._changed:
                self._lines.append(raw.decode(errors="replace").strip())
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
