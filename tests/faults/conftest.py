"""The lab of machines that these tests break: LAB_NAME says which. The fixtures are those of the lab's own tests."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from etcdcompute import operations
from etcdcompute.errors import Unavailable
from etcdcompute.operations import HostRow
from lab import taps
from lab.layout import Layout
from tests.lab.cloud import PROJECT, Cloud, Node, lab_name, wait_for
from tests.lab.conftest import cloud, guest_image, instances

__all__ = ["cloud", "guest_image", "instances", "machines"]


@dataclass(frozen=True)
class Machines:
    """The lab's nodes from the outside: their power and their cables."""

    name: str
    cloud: Cloud

    def cut_power(self, node: Node) -> None:
        self._lab("kill", node.name)

    def start(self, node: Node) -> None:
        """Start the node and wait until its daemons run."""
        self._lab("start", node.name)
        self.cloud.await_daemons()

    def unplug(self, node: Node) -> None:
        self._link(node, "down")

    def plug(self, node: Node) -> None:
        self._link(node, "up")

    def replay_site(self) -> None:
        inventory = PROJECT / ".lab" / self.name / "inventory.yml"
        done = subprocess.run(
            ["ansible-playbook", "-i", inventory, "-i", "inventories/lab", "playbooks/site.yml"],
            cwd=PROJECT, capture_output=True, text=True, timeout=5400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]

    def await_up(self) -> None:
        """Wait until every host is seen as alive."""

        def all_up() -> bool:
            rows = self._hosts()
            return len(rows) == len(self.cloud.computes) and all(row.alive for row in rows)

        wait_for("all hosts to be up", all_up, 120)

    def await_down(self, node: Node) -> None:
        """Wait until the node's host is shown as down."""

        def is_down() -> bool:
            return any(row.name == node.name and row.state.startswith("down") for row in self._hosts())

        # Enough for a lease to end, whatever the agent's setting.
        wait_for(f"{node.name} to be seen as down", is_down, 120)

    def await_message(self, node: Node, words: str) -> None:
        """Wait until the node's host says something with these words in it; nothing at all where there are none."""

        def says_so() -> bool:
            said = [row.message for row in self._hosts() if row.name == node.name]
            return any(words in each if words else not each for each in said)

        wait_for(f"{node.name}'s host to say {words!r}", says_so, 90)

    def await_some_message(self, words: str) -> None:
        """Wait until some host says something with these words in it."""
        wait_for(f"a host to say {words!r}", lambda: any(words in row.message for row in self._hosts()), 90)

    def _hosts(self) -> tuple[HostRow, ...]:
        """Return what an operator sees of the hosts: nothing while etcd, which may have lost its leader, does not say.

        Not by SSH, which fails where a cable has just been plugged in.
        """
        try:
            return operations.list_hosts(self.cloud.kv)
        except Unavailable:
            return ()

    def _lab(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lab", arguments[0], self.name, *arguments[1:]],
            cwd=PROJECT, capture_output=True, text=True, timeout=1200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]

    def _link(self, node: Node, state: str) -> None:
        device = taps.name(Layout(self.name, PROJECT), node.name)
        subprocess.run(["ip", "link", "set", device, state], check=True, timeout=20)


@pytest.fixture
def machines(cloud: Cloud) -> Iterator[Machines]:
    """The lab's machines; afterwards all of them run, are plugged in, and know the time."""
    state = json.loads((PROJECT / ".lab" / lab_name() / "state.json").read_text())
    if state["driver"] != "vm":
        pytest.fail(f"the lab {lab_name()} is of containers: these faults need machines, `make lab-faults` makes them")
    machines = Machines(lab_name(), cloud)
    yield machines
    for node in cloud.nodes.values():
        machines.plug(node)
