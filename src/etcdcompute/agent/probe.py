"""Whether guests run under KVM here. The device alone says nothing: it can be there and hang every guest.

The answer is that of a tiny guest: a boot sector that goes through what firmware and boot loaders do (disk geometry,
the BIOS's disk extensions, reading a sector) some hundred times and reports through qemu's exit status. KVM is used
if the processor offers virtualisation and the guest is through no slower under KVM than under emulation.

Emulation goes first, for it says how slow this machine is: a host that is itself emulated (a lab's node) needs seconds
for what takes others a fraction of one. Its KVM may still be worth having: what is emulated once is far faster than
what is emulated twice.
"""

import logging
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)

KVM_DEVICE = Path("/dev/kvm")
_QEMU = "qemu-system-x86_64"
_TIMEOUT_S = 10.0
# What emulation may take, which cannot hang, on a machine as slow as that.
_EMULATION_TIMEOUT_S = 90.0
# KVM may take this much longer than emulation: starting qemu varies, and its first use may load a module.
_SLACK_S = 1.0
# The guest writes 0x10 to the exit device, of which qemu makes the status (0x10 << 1) | 1.
_SUCCESS = 33

# The guest, 16 bit, at 0000:7c00. Registers are set up, then 64 rounds of:
#   int 13h/08h geometry of drive 80h; /41h are the extensions there; /48h their parameters into 0000:8000;
#   /02h read its first sector to 0000:8200 and compare the signature; /41h of the absent drive 8fh
# and `out 0f4h` with 10h, or 11h where a call failed.
_BOOT_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfb88d3bd4000b408b28031ff55cd135d31c08ec0"
    "b441bbaa55b280cd137237b448b280be0080c7041e00cd137228b80102b90100"
    "ba8000bb0082cd137218813efe8355aa7510b441bbaa55b28fcd134d75b4b010"
    "eb02b011baf400eef4ebfd"
)
BOOT_SECTOR = _BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class Virtualisation:
    """How guests run: `virt_type` is kvm or qemu, `reason` says why in a few words."""

    virt_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class GuestRun:
    """How the tiny guest fared: `failure` is "" where it got through, in `seconds`."""

    seconds: float
    failure: str = ""


# Called with the accelerator, kvm or tcg, and the seconds after which the guest is given up.
RunGuest = Callable[[str, float], GuestRun]


def choose_virtualisation(
    wanted: str,
    *,
    cpu_flags: frozenset[str],
    device: Path = KVM_DEVICE,
    run_guest: RunGuest | None = None,
) -> Virtualisation:
    """Return what `agent.virt_type` comes to on this machine: `wanted` is auto, kvm or qemu."""
    if wanted != "auto":
        return Virtualisation(wanted, f"set by agent.virt_type: {wanted}")
    if not device.exists():
        return Virtualisation("qemu", f"there is no {device}")
    if not cpu_flags & {"svm", "vmx"}:
        return Virtualisation("qemu", f"{device} is there, but the processor shows neither svm nor vmx")
    run = run_guest or run_probe_guest
    emulated = run("tcg", _EMULATION_TIMEOUT_S)
    kvm = run("kvm", max(_TIMEOUT_S, emulated.seconds + _SLACK_S))
    if kvm.failure:
        return Virtualisation("qemu", f"{device} is there, but a probe guest {kvm.failure}")
    if not emulated.failure and kvm.seconds > emulated.seconds + _SLACK_S:
        return Virtualisation(
            "qemu",
            f"{device} is there, but a probe guest took {kvm.seconds:.1f} s with it, {emulated.seconds:.1f} s without",
        )
    emulated_s = f", without it in {emulated.seconds:.1f} s" if not emulated.failure else ""
    return Virtualisation("kvm", f"a probe guest ran under KVM in {kvm.seconds:.1f} s{emulated_s}")


def run_probe_guest(accelerator: str, timeout_s: float) -> GuestRun:
    """Run the guest under `accelerator` (kvm or tcg) for at most `timeout_s`, and see how it fares."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="etcdcompute-probe-") as image:
        image.write(BOOT_SECTOR)
        image.flush()
        try:
            result = subprocess.run(
                _command(accelerator, image.name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            return GuestRun(0.0, f"could not be run: {_QEMU} is not installed")
        except subprocess.TimeoutExpired:
            return GuestRun(timeout_s, f"hung: it was not through in {timeout_s:.0f} s")
    seconds = time.monotonic() - began
    if result.returncode == _SUCCESS:
        return GuestRun(seconds)
    _LOG.info("probe guest under %s: %s", accelerator, " ".join(result.stderr.decode("utf-8", "replace").split()))
    return GuestRun(seconds, f"failed (qemu's status {result.returncode})")


def _command(accelerator: str, image: str) -> list[str]:
    return [
        _QEMU,
        *("-accel", accelerator),
        *("-machine", "pc"),
        *("-m", "16"),
        *("-display", "none"),
        "-nodefaults",
        "-no-user-config",
        *("-drive", f"file={image},format=raw,if=ide,snapshot=on"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
    ]
