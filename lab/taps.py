"""The machines' network cards on the host's side: a tap device each, of a derived name, a port of the lab's bridge."""

import hashlib
from pathlib import Path

from lab.commands import run
from lab.layout import Layout

PREFIX = "vt-"


def name(layout: Layout, node: str) -> str:
    """Return the name of a node's tap device; at most 15 characters."""
    return f"{PREFIX}{_digest(layout, node)[:10]}"


def mac(layout: Layout, node: str) -> str:
    """Return the address of a node's card, the same whenever it is made anew."""
    digest = _digest(layout, node)
    return f"52:54:00:{digest[:2]}:{digest[2:4]}:{digest[4:6]}"


def make(layout: Layout, node: str, mtu: int) -> str:
    """Make the tap device as a port of the lab's bridge; return its name."""
    device = name(layout, node)
    remove(layout, node)
    run(["ip", "tuntap", "add", "dev", device, "mode", "tap"])
    run(["ip", "link", "set", device, "mtu", str(mtu), "master", layout.bridge, "up"])
    return device


def remove(layout: Layout, node: str) -> None:
    """Remove the tap device if it is there."""
    if exists(layout, node):
        run(["ip", "link", "delete", name(layout, node)], check=False)


def exists(layout: Layout, node: str) -> bool:
    """Return whether the tap device is there."""
    return Path("/sys/class/net", name(layout, node)).exists()


def _digest(layout: Layout, node: str) -> str:
    return hashlib.sha256(f"{layout.ident}:{node}".encode()).hexdigest()
