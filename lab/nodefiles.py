"""The files that make a copy of the base a particular node."""

import os
import shutil
from pathlib import Path

from lab.layout import Layout
from lab.state import Node, State
from lab.surroundings import Surroundings


def write_node_files(root: Path, layout: Layout, state: State, node: Node, surroundings: Surroundings) -> None:
    """Give the system in `root` its name, identity, SSH keys, address and the host's way out to the network."""
    etc = root / "etc"
    _write(etc / "hostname", f"{node.name}\n")
    _write(etc / "machine-id", f"{node.machine_id}\n", 0o444)
    _write(etc / "hosts", hosts(state, node))
    _write(etc / "resolv.conf", surroundings.resolv_conf())
    _write(etc / "systemd/network/10-lab.network", network_unit(state, node, surroundings.mtu))
    _write(etc / "apt/apt.conf.d/91lab-network", surroundings.apt_conf(gateway=state.gateway))
    if surroundings.pip_conf is not None:
        _write(etc / "pip.conf", surroundings.pip_conf)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    _write(ssh / "authorized_keys", layout.user_key.with_suffix(".pub").read_text(), 0o600)
    host_key = layout.keys / f"host_{node.name}"
    _write(etc / "ssh/ssh_host_ed25519_key", host_key.read_text(), 0o600)
    _write(etc / "ssh/ssh_host_ed25519_key.pub", host_key.with_suffix(".pub").read_text())


def hosts(state: State, node: Node) -> str:
    """Return /etc/hosts: every node of the lab under its address, the node itself included."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{other.address} {other.name}" for other in (node, *(n for n in state.nodes if n != node))]
    return "".join(f"{line}\n" for line in lines)


def network_unit(state: State, node: Node, mtu: int) -> str:
    """Return systemd-networkd's unit for the node's one interface."""
    return (
        # The one card of a container, or of a machine.
        "[Match]\nName=host0 eth0\n\n"
        f"[Link]\nMTUBytes={mtu}\n\n"
        f"[Network]\nAddress={node.address}/{state.network.prefixlen}\nGateway={state.gateway}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\nEmitLLDP=no\n"
    )


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of the node; a link in its place is replaced, never followed out of the root."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    os.chown(path, 0, 0)


def remove_tree(folder: Path) -> None:
    """Remove a folder that may not be there."""
    if folder.exists():
        shutil.rmtree(folder)
