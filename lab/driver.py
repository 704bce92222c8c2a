"""What a kind of node must offer; the rest of a lab (network, state, waiting, inventory) is the same for all kinds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lab.acceleration import Acceleration
from lab.processes import Process
from lab.progress import Progress
from lab.state import Node, State


@dataclass(frozen=True, slots=True)
class Needs:
    """What nodes take of this machine: the base that isn't there yet, and each node's disk and memory."""

    base_mib: int
    node_mib: int
    memory_mib: int


class Driver(Protocol):
    """Makes, starts, kills and removes nodes; every call may be repeated and starts from any state."""

    @property
    def name(self) -> str:
        """What the state file calls this driver."""

    @property
    def programs(self) -> Mapping[str, str]:
        """The programs that are needed, each with the Debian package it comes in."""

    @property
    def boot_limit_s(self) -> float:
        """How long a node may take to boot."""

    def needs(self, state: State) -> Needs:
        """Return what the lab's nodes take of this machine."""

    def accelerate(self) -> Acceleration | None:
        """Return what runs the nodes' instructions, None where they are this machine's own."""

    def problems(self, state: State, missing_nodes: int) -> list[str]:
        """Return what stands in the way of making `missing_nodes` more nodes; a sentence each, with the way out."""

    def prepare(self, state: State, progress: Progress) -> None:
        """Make what the nodes share (their base)."""

    def exists(self, node: str) -> bool:
        """Return whether the node has been made, completely."""

    def make(self, state: State, node: Node) -> None:
        """Make the node's disk from the base, with its name, keys and address; what is half made is made again."""

    def running(self, node: Node) -> Process | None:
        """Return the process that is the running node, None while it doesn't run."""

    def start(self, state: State, node: Node) -> None:
        """Start the node, after ending what may be left of an earlier run; returns before it has booted."""

    def kill(self, node: Node | str) -> int:
        """Cut the node's power; return how many processes that ended."""

    def remove(self, node: str) -> None:
        """Remove what the node occupies outside its folder (mounts, cgroups)."""

    def leftovers(self, node: str) -> list[str]:
        """Return what is still there of a removed node."""

    def console_command(self, node: Node) -> list[str]:
        """Return the command that reaches the node where SSH does not: its console, or what comes nearest."""

    def console(self, node: str) -> str:
        """Return the newest lines of the node's console, for an error's text."""
