"""How large the nodes are that are machines; containers take what they need of this machine."""

import os
from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Sizes:
    """One machine's processors, memory and disk."""

    cpus: int = 2
    memory_mib: int = 2048
    disk_gib: int = 16


DEFAULT = Sizes()


def default_for(nodes: int) -> Sizes:
    """Return the default for so many nodes here: more virtual processors than real ones wait for each other."""
    return Sizes(cpus=max(1, min(DEFAULT.cpus, (os.cpu_count() or 1) // max(1, nodes))))


# Below these a node boots, and then fails at something that says nothing about sizes.
_LEAST = Sizes(cpus=1, memory_mib=1024, disk_gib=5)


def parse(cpus: str | None, memory_mib: str | None, disk_gib: str | None, nodes: int = 3) -> Sizes | None:
    """Return the sizes that the user's words come to, the defaults for what was not said; None if nothing was."""
    if cpus is None and memory_mib is None and disk_gib is None:
        return None
    return Sizes(
        _number("LAB_VM_CPUS", cpus, default_for(nodes).cpus, _LEAST.cpus),
        _number("LAB_VM_MEMORY_MIB", memory_mib, DEFAULT.memory_mib, _LEAST.memory_mib),
        _number("LAB_VM_DISK_GIB", disk_gib, DEFAULT.disk_gib, _LEAST.disk_gib),
    )


def _number(name: str, text: str | None, default: int, least: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or int(text) < least:
        raise LabError(f"{name}={text} is no size of a node: it is a whole number, at least {least}")
    return int(text)
