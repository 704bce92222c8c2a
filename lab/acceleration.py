"""What runs the instructions of nodes that are machines: KVM where a guest really runs under it, else emulation.

The question is the one that the agent asks on every compute host, so the answer is the agent's: a probe guest with a
time limit. The device's presence proves nothing.
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.layout import CHECKOUT

QEMU = "qemu-system-x86_64"
VARIABLE = "LAB_VM_ACCEL"
_EMULATES_CMPXCHG16B = 8  # QEMU's major version


@dataclass(frozen=True, slots=True)
class Acceleration:
    """`name` is QEMU's word for it, kvm or tcg; `reason` says why it was chosen."""

    name: str
    reason: str

    @property
    def arguments(self) -> list[str]:
        """QEMU's arguments: the accelerator, and the processor that a node sees."""
        if self.name == "kvm":
            # With the virtualisation of the processor, where this machine's KVM passes it on: nested KVM.
            return ["-accel", "kvm", "-cpu", "host"]
        # All that can be emulated, AMD's virtualisation included: a guest's guest under the node's KVM is then emulated
        # once and not twice. Five levels of page tables cost time and give nothing.
        processor = "max,la57=off" if _emulates_cmpxchg16b() else "max,la57=off,cx16=off"
        return ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", processor]


def _emulates_cmpxchg16b() -> bool:
    """Whether QEMU here emulates that instruction without a fault, as from 8.0 on.

    Before, it can leave garbage in the flags, and an interrupt right behind it is the end of the node's kernel ("double
    fault"), once in some hours. Linux does without the instruction where the processor has none.
    """
    found = re.search(r"version (\d+)\.", run([QEMU, "--version"]))
    return found is not None and int(found[1]) >= _EMULATES_CMPXCHG16B


def choose() -> Acceleration:
    """Return what nodes are to run on, by LAB_VM_ACCEL (auto, kvm or tcg) and the agent's probe."""
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in ("auto", "kvm", "tcg"):
        raise LabError(f"{VARIABLE}={wanted} is not known: it is auto, kvm or tcg")
    if wanted != "auto":
        return Acceleration(wanted, f"set by {VARIABLE}")
    # A lab runs without the virtual environment, in which the agent would be found by itself.
    if str(CHECKOUT / "src") not in sys.path:
        sys.path.append(str(CHECKOUT / "src"))
    from etcdcompute.agent import probe

    flags = frozenset(Path("/proc/cpuinfo").read_text().split())
    answer = probe.choose_virtualisation("auto", cpu_flags=flags)
    return Acceleration("kvm" if answer.virt_type == "kvm" else "tcg", answer.reason)
