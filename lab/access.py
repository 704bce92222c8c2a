"""How people and Ansible get into the nodes: keys, known hosts, the inventory, SSH itself."""

import json
import os
import shlex
from pathlib import Path

from lab.commands import run
from lab.layout import Layout
from lab.state import State, write_atomically


def ensure_keys(layout: Layout, state: State) -> None:
    """Make the user's key pair and each node's host key where they are missing."""
    layout.keys.mkdir(parents=True, exist_ok=True)
    layout.keys.chmod(0o700)
    _ensure_key(layout.user_key, f"etcd-compute lab {layout.name}")
    for node in state.nodes:
        _ensure_key(layout.keys / f"host_{node.name}", node.name)


def _ensure_key(path: Path, comment: str) -> None:
    """Make a key pair in a temporary place first: half a pair would stay broken for ever."""
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return
    temporary = path.with_name(f".{path.name}.new")
    for leftover in (temporary, temporary.with_name(f"{temporary.name}.pub")):
        leftover.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary)])
    temporary.with_name(f"{temporary.name}.pub").replace(public)
    temporary.replace(path)


def write_views(layout: Layout, state: State) -> None:
    """Write known_hosts and the inventory, and give them to the user who called sudo."""
    write_atomically(layout.known_hosts, known_hosts(layout, state))
    write_atomically(layout.inventory, inventory(layout, state))
    give_to_caller(layout)


def known_hosts(layout: Layout, state: State) -> str:
    """Return the nodes' host keys in SSH's format."""
    lines = []
    for node in state.nodes:
        kind, key = (layout.keys / f"host_{node.name}.pub").read_text().split()[:2]
        lines.append(f"{node.address},{node.name} {kind} {key}\n")
    return "".join(lines)


def ssh_options(layout: Layout) -> list[str]:
    """Return SSH's options: the lab's key and known hosts only, none of the user's."""
    return [
        "-o", f"UserKnownHostsFile={_quoted(layout.known_hosts)}", "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
    ]  # fmt: skip


def ssh_command(layout: Layout, state: State, node: str, *options: str) -> list[str]:
    """Return the command that logs in to a node as root, without asking anything."""
    return [
        "ssh", "-F", "/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
        "-o", f"ConnectTimeout={60 if state.acceleration == 'tcg' else 10}",
        "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6",
        *ssh_options(layout), "-i", str(layout.user_key), *options, f"root@{state.node(node).address}",
    ]  # fmt: skip


def inventory(layout: Layout, state: State) -> str:
    """Return Ansible's inventory as YAML: the first nodes are controllers, every node is a compute host."""
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(layout.user_key),
        "ansible_ssh_common_args": shlex.join(ssh_options(layout)),
        "ansible_ssh_pipelining": True,
        # An emulated node that is busy takes longer than Ansible's ten seconds to greet.
        "ansible_timeout": 120 if state.acceleration == "tcg" else 10,
        "ansible_python_interpreter": "/usr/bin/python3",
        "lab_name": state.name,
        "lab_kind": state.driver,
        "lab_acceleration": state.acceleration,
        "lab_subnet": state.subnet,
        "lab_gateway": state.gateway,
    }
    lines = ["# Written by the lab; `python3 -m lab up` writes it again.", "all:", "  vars:"]
    lines += [f"    {key}: {json.dumps(value)}" for key, value in shared.items()]
    lines += ["  hosts:"]
    for node in state.nodes:
        lines += [f"    {node.name}:", f"      ansible_host: {json.dumps(node.address)}"]
    lines += ["  children:"]
    groups = {"controllers": state.nodes[: state.controllers], "computes": state.nodes}
    for group, nodes in groups.items():
        lines += [f"    {group}:", "      hosts:", *(f"        {node.name}: {{}}" for node in nodes)]
    return "".join(f"{line}\n" for line in lines)


def give_to_caller(layout: Layout) -> None:
    """Let the user who called sudo read keys and inventory and remove the folder; the nodes' roots stay root's."""
    uid, gid = int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0"))
    if os.geteuid() != 0 or uid == 0:
        return
    paths = [layout.folder.parent, layout.folder, layout.cache.parent, layout.cache]
    paths += [path for path in layout.folder.iterdir() if path.name != "nodes"]
    paths += [*layout.keys.iterdir()] if layout.keys.is_dir() else []
    for path in paths:
        os.chown(path, uid, gid)


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
