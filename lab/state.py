"""The record of one lab: what it is meant to be, and which processes were its nodes when `up` ended."""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from lab import subnet as subnets
from lab.errors import LabError
from lab.sizes import Sizes

FORMAT = 1
PACKAGES = ("installed", "downloaded")


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name, address, machine id (32 hexadecimal digits) and, once it runs, its first process."""

    name: str
    address: str
    machine_id: str
    leader_pid: int | None = None
    leader_started: int | None = None  # clock ticks after the boot, from /proc/PID/stat


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the host that every node sees, read-only."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class State:
    """One lab as it is meant to be; written before anything is made."""

    name: str
    driver: str
    release: str
    subnet: str
    bridge: str
    table: str
    nodes: tuple[Node, ...]
    binds: tuple[Bind, ...] = ()
    controllers: int = 1  # so many of the nodes, from the first on
    # What the nodes' base holds of the packages that the roles install, one of PACKAGES.
    packages: str = "downloaded"
    # Of nodes that are machines: how large they are, and what runs their instructions (kvm or tcg) for which reason.
    sizes: Sizes | None = None
    acceleration: str = ""
    acceleration_reason: str = ""
    format: int = field(default=FORMAT)

    @property
    def network(self) -> IPv4Network:
        """The lab's subnet."""
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> str:
        """The bridge's address, the nodes' default route."""
        return subnets.gateway(self.network)

    def node(self, name: str) -> Node:
        """Return the node called `name`."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise LabError(f"the lab {self.name} has no node {name}: it has {names}")


def new_nodes(names: Sequence[str], net: IPv4Network) -> tuple[Node, ...]:
    """Return fresh nodes with consecutive addresses and random machine ids."""
    return tuple(Node(name, subnets.address(net, index), uuid.uuid4().hex) for index, name in enumerate(names))


def load(path: Path) -> State | None:
    """Return the state in `path`, None where there is none; an unreadable one is an error."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read ({error}): remove the lab with `down` and make it again") from error
    try:
        if data["format"] != FORMAT:
            raise LabError(
                f"{path} was written by another version of this program: remove the lab with `down` and make it again"
            )
        # Before there was a choice machines had them installed, and containers not.
        data.setdefault("packages", "installed" if data["driver"] == "vm" else "downloaded")
        return State(
            **{
                **data,
                "nodes": tuple(Node(**node) for node in data["nodes"]),
                "binds": tuple(Bind(**bind) for bind in data["binds"]),
                "sizes": Sizes(**data["sizes"]) if data.get("sizes") else None,
            }
        )
    except (KeyError, TypeError) as error:
        raise LabError(f"{path} is damaged ({error}): remove the lab with `down` and make it again") from error


def save(state: State, path: Path) -> None:
    """Write the state so that a reader (or a crash) sees the old one or the new one, whole."""
    write_atomically(path, json.dumps(asdict(state), indent=2) + "\n")


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file beside its place and rename it; unchanged content is not written again."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, ValueError):
        pass
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.chmod(mode)
    temporary.replace(path)
