"""A lab as the tests see it: its nodes over SSH, its etcd and its placement service directly."""

import contextlib
import functools
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml

from etcdcompute import operations
from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.kv.client import Client
from etcdcompute.model import keys
from etcdcompute.placement.client import PlacementClient

T = TypeVar("T")

PROJECT = Path(__file__).parents[2]
FAILPOINTS = "/run/etcdcompute-failpoints"
DAEMONS = ("placement", "scheduler", "agent")
STATE = "/var/lib/etcdcompute"


@functools.cache
def patience() -> float:
    """Return how many times longer than usual things may take: much longer where the nodes' processors are emulated."""
    try:
        state = json.loads((PROJECT / ".lab" / lab_name() / "state.json").read_text())
    except OSError:
        return 1.0
    return 8.0 if state.get("acceleration") == "tcg" else 1.0


class Waited(AssertionError):
    """What a test waited for did not come about."""


def wait_for(what: str, probe: Callable[[], T | None], timeout_s: float = 60.0, interval_s: float = 0.1) -> T:
    """Return the first true answer of `probe`; the only place in these tests that lets time pass."""
    timeout_s *= patience()
    deadline = Deadline.after(timeout_s)
    while True:
        answer = probe()
        if answer:
            return answer
        if deadline.expired:
            raise Waited(f"waited {timeout_s:.0f} s in vain for {what}; last answer {answer!r}")
        time.sleep(interval_s)


@dataclass(frozen=True)
class Node:
    """One machine of the lab."""

    name: str
    address: str
    ssh: tuple[str, ...]
    key: str

    def try_run(self, command: str, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.ssh, f"root@{self.address}", command],
            capture_output=True,
            text=True,
            timeout=timeout_s * patience(),
            check=False,
        )

    def run(self, command: str, *, timeout_s: float = 60.0) -> str:
        done = self.try_run(command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{self.name}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def succeeds(self, command: str) -> bool:
        return self.try_run(command).returncode == 0

    def run_in_guest(self, address: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a guest behind this node, by way of the node."""
        # The outer ssh expands what follows a percent sign, so that the inner one's own need two.
        inner = [argument.replace("%", "%%") for argument in self.ssh]
        jump = shlex.join([*inner, "-W", "[%h]:%p", f"root@{self.address}"])
        unchecked = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        options = ["-i", self.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        return subprocess.run(
            ["ssh", *unchecked, *options, "-o", f"ProxyCommand={jump}", f"root@{address}", command],
            capture_output=True,
            text=True,
            timeout=60 * patience(),
            check=False,
        )


class Cloud:
    """The deployed stack."""

    def __init__(self, name: str, control_path: Path) -> None:
        self.directory = PROJECT / ".lab" / name
        inventory = yaml.safe_load((self.directory / "inventory.yml").read_text())["all"]
        common = inventory["vars"]
        key = common["ansible_ssh_private_key_file"]
        ssh = (
            "ssh",
            *shlex.split(common["ansible_ssh_common_args"]),
            *("-i", key, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={10 * patience():.0f}", "-o", "LogLevel=ERROR"),
            *("-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={control_path}/%C"),
        )
        self.nodes = {
            name: Node(name, variables["ansible_host"], ssh, key) for name, variables in inventory["hosts"].items()
        }
        self.controllers = [self.nodes[name] for name in inventory["children"]["controllers"]["hosts"]]
        self.computes = [self.nodes[name] for name in inventory["children"]["computes"]["hosts"]]
        self.public_key = Path(f"{key}.pub").read_text().strip()
        self.token = (self.directory / ".credentials" / "placement_token").read_text().strip()
        self.endpoints = [f"http://{node.address}:2379" for node in self.controllers]
        self.placement_urls = [f"http://{node.address}:8778" for node in self.controllers]
        self.kv = Client(self.endpoints, request_timeout_s=20)
        self.placement = PlacementClient(self.placement_urls, token=self.token, timeout_s=20)

    def close(self) -> None:
        self.kv.close()
        self.placement.close()

    # -- what is there -------------------------------------------------------------------------------------------

    def on_all(self, command: str) -> dict[str, str]:
        """Run a command on all compute nodes at once; return what each printed."""
        with ThreadPoolExecutor(len(self.computes)) as pool:
            return dict(
                zip(
                    [node.name for node in self.computes],
                    pool.map(lambda node: node.run(command), self.computes),
                    strict=True,
                )
            )

    def host_uuids(self) -> dict[str, str]:
        return {name: text.strip() for name, text in self.on_all(f"cat {STATE}/host-uuid").items()}

    def domains(self) -> dict[str, set[str]]:
        """Return the uuids of all domains per node, ours or not."""
        return {name: set(text.split()) for name, text in self.on_all("virsh list --all --uuid").items()}

    def running_domains(self) -> set[str]:
        return {uuid for text in self.on_all("virsh list --uuid").values() for uuid in text.split()}

    def instance_directories(self) -> dict[str, set[str]]:
        return {name: set(text.split()) for name, text in self.on_all(f"ls {STATE}/instances").items()}

    def allocations(self) -> dict[str, set[str]]:
        """Return the consumers of each node's provider."""
        return {
            name: set(self.placement.get_provider_allocations(uuid).allocations)
            for name, uuid in self.host_uuids().items()
        }

    def documents(self, prefix: str) -> set[str]:
        return {keys.last_segment(item.key) for item in self.kv.read_prefix(prefix).items}

    def contradictions(self) -> list[str]:
        """Compare etcd, placement, libvirt and the disks; return every sentence in which they disagree."""
        instances = self.documents(keys.INSTANCES)
        host_uuids = self.host_uuids()
        names = {uuid: name for name, uuid in host_uuids.items()}
        assigned: dict[str, list[str]] = {}
        for item in self.kv.read_prefix(keys.ASSIGNMENTS).items:
            host, uuid = keys.split_assignment(item.key)
            assigned.setdefault(uuid, []).append(names.get(host, host))
        found = []
        views = {
            "domain": self.domains(),
            "allocation": self.allocations(),
            "directory": self.instance_directories(),
        }
        for uuid in sorted(instances | set(assigned)):
            where = assigned.get(uuid, [])
            if uuid not in instances or len(where) != 1:
                found.append(f"instance {uuid}: document {uuid in instances}, assignments {where}")
        for kind, view in views.items():
            actual = sorted((uuid, name) for name, uuids in view.items() for uuid in uuids)
            wanted = sorted((uuid, name) for uuid, hosts in assigned.items() for name in hosts)
            if actual != wanted:
                found.append(f"{kind}: assigned {wanted}, found {actual}")
        reserved = {item.value.decode() for item in self.kv.read_prefix(keys.INSTANCE_NAMES).items}
        if reserved != instances:
            found.append(f"names reserved for {reserved}, instances {instances}")
        statuses = self.documents(keys.INSTANCE_STATUSES)
        if statuses != instances:
            found.append(f"statuses of {statuses}, instances {instances}")
        return found

    def expect_consistent(self) -> None:
        """Wait until nothing contradicts anything; what lags behind a status by a moment may still arrive."""
        found: list[str] = []

        def probe() -> bool:
            try:
                found[:] = self.contradictions()
            except Unavailable as error:
                found[:] = [str(error)]
            return not found

        try:
            wait_for("a consistent cloud", probe, timeout_s=45, interval_s=0.3)
        except Waited:
            raise Waited("\n".join(found)) from None

    # -- disturbing it -------------------------------------------------------------------------------------------

    def units(self, node: Node) -> list[str]:
        """Return the units of our daemons on a node."""
        daemons = [daemon for daemon in DAEMONS if daemon == "agent" or node in self.controllers]
        return [f"etcdcompute-{daemon}.service" for daemon in daemons]

    def daemon_pid(self, node: Node, daemon: str) -> int:
        return int(node.run(f"systemctl show --property MainPID --value etcdcompute-{daemon}"))

    def kill_daemon(self, node: Node, daemon: str) -> None:
        pid = self.daemon_pid(node, daemon)
        assert pid, f"{daemon} does not run on {node.name}"
        node.run(f"kill -KILL {pid}")
        wait_for("systemd to have noticed", lambda: self.daemon_pid(node, daemon) != pid)

    def await_daemons(self) -> None:
        """Wait until systemd has every daemon up again."""
        for node in self.nodes.values():
            # With several units at once systemctl is content when one of them is active.
            all_active = " && ".join(f"systemctl is-active --quiet {unit}" for unit in self.units(node))
            wait_for(f"all daemons of {node.name}", partial(node.succeeds, all_active))

    @contextlib.contextmanager
    def only(self, node: Node) -> Iterator[None]:
        """Keep new instances off all other hosts."""
        others = [each.name for each in self.computes if each is not node]
        for name in others:
            operations.set_cordoned(self.kv, name, cordoned=True)
        try:
            yield
        finally:
            for name in others:
                operations.set_cordoned(self.kv, name, cordoned=False)

    def arm(self, point: str, action: str) -> None:
        for node in self.nodes.values():
            node.run(f"printf {action} > {FAILPOINTS}/.new && mv {FAILPOINTS}/.new {FAILPOINTS}/{point}")

    def disarm(self) -> None:
        for node in self.nodes.values():
            node.run(f"find {FAILPOINTS} -type f -delete")

    def await_hit(self, point: str, action: str, timeout_s: float = 60.0) -> Node:
        """Wait until one node's daemon has reached the point; return the node."""
        sign = f"test -e {FAILPOINTS}/{point}.held" if action == "hold" else f"test ! -e {FAILPOINTS}/{point}"

        def probe() -> Node | None:
            return next((node for node in self.nodes.values() if node.succeeds(sign)), None)

        return wait_for(f"somebody to reach {point}", probe, timeout_s)

    @contextlib.contextmanager
    def failpoints(self) -> Iterator[None]:
        """Switch the daemons' failpoints on for the while."""
        drop_in = f"[Service]\\nEnvironment=ETCDCOMPUTE_FAILPOINTS={FAILPOINTS}\\nReadWritePaths={FAILPOINTS}\\n"
        for node in self.nodes.values():
            node.run(f"install -d -m 0777 {FAILPOINTS}")
            for unit in self.units(node):
                where = f"/run/systemd/system/{unit}.d"
                node.run(f"mkdir -p {where} && printf '{drop_in}' > {where}/failpoints.conf")
            self._restart_daemons(node)
        try:
            yield
        finally:
            self.disarm()
            for node in self.nodes.values():
                node.run("rm -f /run/systemd/system/etcdcompute-*.service.d/failpoints.conf")
                self._restart_daemons(node)
                node.run(f"rm -rf {FAILPOINTS}")

    def _restart_daemons(self, node: Node) -> None:
        node.run(f"systemctl daemon-reload && systemctl restart {' '.join(self.units(node))}", timeout_s=120)


def lab_name() -> str:
    return os.environ.get("LAB_NAME", "lab")
