"""A lab: bringing it up from any state, taking it down from any state, and handling its nodes in between."""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from lab import access, network, preflight, sizes
from lab import subnet as subnets
from lab.commands import run, succeeds, tethered
from lab.container import ContainerDriver
from lab.driver import Driver
from lab.errors import LabError, PreflightError
from lab.layout import Layout, check_name
from lab.locks import held
from lab.progress import Progress, Step
from lab.qemu import QemuDriver
from lab.sizes import Sizes
from lab.state import Bind, Node, State, load, new_nodes, save
from lab.surroundings import Surroundings, fetch_surroundings

DEFAULT_NODES = ("etcd1", "etcd2", "etcd3")
DEFAULT_RELEASE = "trixie"
DEFAULT_PACKAGES = "installed"
KINDS = ("container", "vm")
DEFAULT_KIND = "container"
# Asking over SSH costs an emulated node seconds of its processor; whether its port is open costs nothing.
SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for; None where nothing was said, so that an existing lab keeps what it has."""

    nodes: tuple[str, ...] | None = None
    release: str | None = None
    subnet: str | None = None
    binds: tuple[Bind, ...] | None = None
    mirror: str | None = None
    controllers: int | None = None
    kind: str | None = None
    sizes: Sizes | None = None
    packages: str | None = None


class Lab:
    """One lab of this checkout."""

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self.layout = layout
        self.progress = progress

    def up(self, wishes: Wishes) -> State:
        """Make the lab what it is meant to be, whatever is there; a running lab is left as it is."""
        began = time.monotonic()
        with self._locked():
            surroundings = fetch_surroundings(wishes.mirror)
            old = load(self.layout.state_file)
            state, driver, missing, stopped = self._plan(old, wishes, surroundings)
            if problems := self._find_problems(state, surroundings, driver, missing, stopped):
                raise PreflightError(problems)
            state = self._accelerate(state, driver, stopped)
            self.progress.say(
                f"lab {state.name}: {len(state.nodes)} nodes ({state.driver}), Debian {state.release}, {state.subnet}"
            )
            self.layout.folder.mkdir(parents=True, exist_ok=True)
            save(state, self.layout.state_file)
            access.ensure_keys(self.layout, state)
            access.write_views(self.layout, state)
            if missing:
                driver.prepare(state, self.progress)
            if network.bring_up(state, self.layout, surroundings.mtu, self.progress):
                # A new bridge has none of the old ports: nodes that survived its loss are started again.
                stopped = list(state.nodes) if old is not None else stopped
            for node in missing:
                with self.progress.step(f"making {node.name} from the base"):
                    driver.make(state, node)
            self._start(state, driver, stopped)
            self._wait(state, driver, state.nodes)
            state = self._record(state, driver)
        changed = "unchanged" if not missing and not stopped else f"up after {time.monotonic() - began:.1f} s"
        self._tell(state, changed)
        return state

    def problems(self, wishes: Wishes, *, programs: bool = True) -> list[str]:
        """Return all that would keep `up` from its work, with or without missing programs; change nothing."""
        surroundings = fetch_surroundings(wishes.mirror)
        state, driver, missing, stopped = self._plan(load(self.layout.state_file), wishes, surroundings)
        found = self._find_problems(state, surroundings, driver, missing, stopped)
        left_out = [] if programs else preflight.program_problems(driver.programs)
        return [each for each in found if each not in left_out]

    def down(self) -> None:
        """Remove everything the lab made, from any state, and verify that it is gone; the cache stays."""
        began = time.monotonic()
        with self._locked():
            nodes: list[Node | str] = list(self._known_nodes())
            # Of every kind: without a record nobody knows which it was, and what isn't there costs nothing.
            surroundings = fetch_surroundings()
            drivers = [self._driver(kind, surroundings) for kind in KINDS]
            self.progress.say(f"lab {self.layout.name}: removing its nodes, network and files")
            for node in nodes:
                name = node if isinstance(node, str) else node.name
                for driver in drivers:
                    driver.kill(node)
                    driver.remove(name)
            network.tear_down(self.layout, self.progress)
            remaining = network.leftovers(self.layout)
            for node in nodes:
                for driver in drivers:
                    remaining += driver.leftovers(node if isinstance(node, str) else node.name)
            if remaining:
                raise LabError(
                    f"of lab {self.layout.name} these are still there: {'; '.join(remaining)}. "
                    "`python3 -m lab down` may be repeated at any time"
                )
            if self.layout.folder.exists():
                # The state file last: while it exists, an interrupted `down` is known to be unfinished.
                for entry in self.layout.folder.iterdir():
                    if entry != self.layout.state_file:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                shutil.rmtree(self.layout.folder)
            if self.layout.folder.parent.is_dir() and not any(self.layout.folder.parent.iterdir()):
                self.layout.folder.parent.rmdir()
        self.progress.say(f"lab {self.layout.name}: gone after {time.monotonic() - began:.1f} s; the cache is kept")

    def status(self) -> list[tuple[str, str, str, str]]:
        """Return (node, address, state, first process) of every node; an error if there is no such lab."""
        state = self._existing()
        driver = self._driver(state.driver)
        rows = []
        for node in state.nodes:
            process = driver.running(node)
            word = "missing" if not driver.exists(node.name) else "stopped" if process is None else "running"
            if process is not None and not self._probe(state, node):
                word = "booting"
            rows.append((node.name, node.address, word, str(process.pid) if process else "-"))
        return rows

    def kill(self, name: str) -> None:
        """Cut one node's power: everything in it dies at once, its disk stays."""
        with self._locked():
            state = self._existing()
            ended = self._driver(state.driver).kill(state.node(name))
        self.progress.say(f"{name}: {'power cut' if ended else 'was not running'}")

    def start(self, name: str) -> None:
        """Start a node that doesn't run, and wait until it has booted."""
        with self._locked():
            state = self._existing()
            node = state.node(name)
            driver = self._driver(state.driver)
            if not network.is_up(state) or not driver.exists(name):
                raise LabError(f"lab {state.name} is not complete: `python3 -m lab up --name {state.name}` repairs it")
            stopped = [] if driver.running(node) else [node]
            self._start(state, driver, stopped)
            self._wait(state, driver, [node])
            self._record(state, driver)
        self.progress.say(f"{name}: {'running' if stopped else 'was running already'}")

    def reboot(self, name: str) -> None:
        """Ask a node to reboot as its administrator would, and wait until it has booted again."""
        with self._locked():
            state = self._existing()
            node = state.node(name)
            driver = self._driver(state.driver)
            if driver.running(node) is None:
                raise LabError(f"{name} is not running: `python3 -m lab start --name {state.name} {name}` starts it")
            before = self._boot(state, node)
            run([*access.ssh_command(self.layout, state, name), "systemctl reboot"], check=False)
            with self.progress.step(f"{name}: rebooting") as step:
                self._until(lambda: self._boot(state, node) not in ("", before), driver, [node], step)
            self._wait(state, driver, [node])
            self._record(state, driver)
        self.progress.say(f"{name}: running")

    def ssh_command(self, node: str, *options: str) -> list[str]:
        """Return the command that logs in to a node."""
        return access.ssh_command(self.layout, self._existing(), node, *options)

    def _locked(self) -> AbstractContextManager[None]:
        return held(self.layout.lock, self.progress, f"another run that changes lab {self.layout.name}")

    def _existing(self) -> State:
        state = load(self.layout.state_file)
        if state is None:
            raise LabError(
                f"there is no lab {self.layout.name}: `python3 -m lab up --name {self.layout.name}` makes it"
            )
        return state

    def console_command(self, name: str) -> list[str]:
        """Return the command that reaches a node without its network."""
        state = self._existing()
        return self._driver(state.driver).console_command(state.node(name))

    def _driver(self, kind: str, surroundings: Surroundings | None = None) -> Driver:
        """Return the driver of a kind of node."""
        return make_driver(kind, self.layout, surroundings or fetch_surroundings())

    def _known_nodes(self) -> list[Node | str]:
        """Return the lab's nodes from its record, or, where that is lost, by what is on the disk."""
        try:
            state = load(self.layout.state_file)
        except LabError:
            state = None
        known: dict[str, Node | str] = {node.name: node for node in state.nodes} if state else {}
        folder = self.layout.folder / "nodes"
        for entry in folder.iterdir() if folder.is_dir() else ():
            known.setdefault(entry.name, entry.name)
        for name in () if state else DEFAULT_NODES:
            known.setdefault(name, name)
        return list(known.values())  # without a record: perhaps nodes that aren't there, which costs nothing

    def _plan(
        self, old: State | None, wishes: Wishes, surroundings: Surroundings
    ) -> tuple[State, Driver, list[Node], list[Node]]:
        """Return the state to reach, what handles its nodes, and which of them are to be made and to be started."""
        state = self._decide(old, wishes, surroundings)
        driver = self._driver(state.driver, surroundings)
        missing = [node for node in state.nodes if not driver.exists(node.name)]
        stopped = [node for node in state.nodes if node in missing or driver.running(node) is None]
        return state, driver, missing, stopped

    def _decide(self, old: State | None, wishes: Wishes, surroundings: Surroundings) -> State:
        """Return the state to reach; an existing lab can't be turned into another one."""
        if old is not None:
            self._refuse_changes(old, wishes)
            return old
        names = tuple(check_name(name, "node") for name in wishes.nodes or DEFAULT_NODES)
        if len(set(names)) != len(names):
            raise LabError(f"a node is named twice: {', '.join(names)}")
        if wishes.subnet in (None, "auto"):
            used = subnets.fetch_used(ignore_device=self.layout.bridge, nameservers=surroundings.nameservers)
            net = subnets.choose(used, int(self.layout.ident, 16))
        else:
            net = subnets.parse(str(wishes.subnet), len(names))
        return State(
            name=self.layout.name,
            driver=wishes.kind or DEFAULT_KIND,
            release=wishes.release or DEFAULT_RELEASE,
            subnet=str(net),
            bridge=self.layout.bridge,
            table=self.layout.table,
            nodes=new_nodes(names, net),
            binds=wishes.binds or (),
            controllers=_checked_controllers(wishes.controllers or 1, names),
            packages=checked_packages(wishes.kind, wishes.packages),
            sizes=(wishes.sizes or sizes.default_for(len(names))) if wishes.kind == "vm" else None,
        )

    def _refuse_changes(self, old: State, wishes: Wishes) -> None:
        asked = (
            ("controllers", wishes.controllers, old.controllers),
            ("nodes that are", wishes.kind, old.driver),
            ("sizes", wishes.sizes if old.driver == "vm" else None, old.sizes),
            ("nodes", wishes.nodes, tuple(node.name for node in old.nodes)),
            ("release", wishes.release, old.release),
            ("packages", wishes.packages, old.packages),
            ("subnet", None if wishes.subnet == "auto" else wishes.subnet, old.subnet),
            ("binds", wishes.binds, old.binds),
        )
        different = [
            f"{what} {_shown(has)} instead of {_shown(wanted)}"
            for what, wanted, has in asked
            if wanted not in (None, has)
        ]
        if different:
            raise LabError(
                f"the name {old.name} is in use by a lab with {' and '.join(different)}: "
                f"choose another --name, or remove it with `python3 -m lab down --name {old.name}`"
            )

    def _find_problems(
        self, state: State, surroundings: Surroundings, driver: Driver, missing: Sequence[Node], stopped: Sequence[Node]
    ) -> list[str]:
        programs = not preflight.missing_programs(driver.programs)
        return preflight.find_problems(
            state,
            surroundings,
            driver,
            folder=self.layout.folder,
            missing=[node.name for node in missing],
            stopped=[node.name for node in stopped],
            bridge_is_up=programs and network.is_up(state),
        )

    def _accelerate(self, state: State, driver: Driver, starting: Sequence[Node]) -> State:
        """Choose what is to run the nodes' instructions, and say so; the record keeps it for restarts."""
        if not starting or (chosen := driver.accelerate()) is None:
            return state
        words = {"kvm": "KVM", "tcg": "software emulation"}
        self.progress.say(f"  the nodes run under {words[chosen.name]}: {chosen.reason}")
        return replace(state, acceleration=chosen.name, acceleration_reason=chosen.reason)

    def _start(self, state: State, driver: Driver, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.progress.say(f"  starting {node.name} ({node.address})")
            driver.start(state, node)

    def _wait(self, state: State, driver: Driver, nodes: Sequence[Node]) -> None:
        """Wait until every node answers on SSH and its systemd has finished booting."""
        names = ", ".join(node.name for node in nodes)
        with self.progress.step(f"waiting until {names} have booted and answer on SSH") as step:
            pending = list(nodes)

            def all_booted() -> bool:
                with ThreadPoolExecutor(len(pending), thread_name_prefix="probe") as pool:
                    answers = list(pool.map(lambda node: self._probe(state, node, wait=True), pending))
                pending[:] = [node for node, booted in zip(pending, answers, strict=True) if not booted]
                step.detail = f"{', '.join(node.name for node in pending)} still booting"
                return not pending

            self._until(all_booted, driver, pending, step)

    def _probe(self, state: State, node: Node, *, wait: bool = False) -> bool:
        """Return whether the node answers on SSH and says that its boot is over, well or not so well.

        With `wait` a node that answers may take its time to say so: asking again and again would slow it down.
        """
        if not _listens(node.address):
            return False
        until = "--wait" if wait else ""
        question = f"case $(systemctl is-system-running {until}) in running|degraded) exit 0;; esac; exit 1"
        command = access.ssh_command(self.layout, state, node.name, "-o", "ConnectTimeout=20")
        return succeeds(tethered([*command, question]), timeout_s=120 if wait else 30)

    def _boot(self, state: State, node: Node) -> str:
        """Return what is different after every boot of the node, "" while it doesn't answer.

        A container's first process starts anew and has the host's boot id; a machine has a boot id of its own.
        """
        if not _listens(node.address):
            return ""
        question = "cut -d' ' -f22 /proc/1/stat; cat /proc/sys/kernel/random/boot_id"
        command = access.ssh_command(self.layout, state, node.name, "-o", "ConnectTimeout=20")
        return run(tethered([*command, question]), check=False, timeout_s=60)

    def _until(self, reached: Callable[[], bool], driver: Driver, pending: list[Node], step: Step) -> None:
        """Wait for `reached`; an error shows the console of a node that ended or didn't boot in time."""
        deadline = time.monotonic() + driver.boot_limit_s
        absent: dict[str, float] = {}
        while not reached():
            now = time.monotonic()
            for node in pending:
                if driver.running(node):
                    absent.pop(node.name, None)
                # A reboot leaves a moment without a process.
                elif now - absent.setdefault(node.name, now) > 10:
                    raise LabError(f"{node.name} ended while it booted. Its console:\n{driver.console(node.name)}")
            if now > deadline:
                name = pending[0].name
                raise LabError(
                    f"{name} has not booted within {driver.boot_limit_s:.0f} s ({step.detail}). Its console:\n"
                    f"{driver.console(name)}"
                )
            time.sleep(0.2)

    def _record(self, state: State, driver: Driver) -> State:
        """Write down which processes the nodes are."""
        nodes = []
        for node in state.nodes:
            process = driver.running(node)
            nodes.append(
                replace(
                    node,
                    leader_pid=process.pid if process else None,
                    leader_started=process.started if process else None,
                )
            )
        state = replace(state, nodes=tuple(nodes))
        save(state, self.layout.state_file)
        access.give_to_caller(self.layout)
        return state

    def _tell(self, state: State, outcome: str) -> None:
        nodes = ", ".join(f"{node.name} {node.address}" for node in state.nodes)
        inventory = self.layout.inventory
        if inventory.is_relative_to(Path.cwd()):
            inventory = inventory.relative_to(Path.cwd())
        self.progress.say(f"lab {state.name}: {outcome}: {nodes}")
        self.progress.say(
            f"  inventory {inventory}; a shell: python3 -m lab exec --name {state.name} {state.nodes[0].name}"
        )


def make_driver(kind: str, layout: Layout, surroundings: Surroundings) -> Driver:
    """Return the driver of a kind of node: the one place that a further kind has to be added to."""
    if kind == "vm":
        return QemuDriver(layout, surroundings)
    return ContainerDriver(layout, surroundings)


def checked_packages(kind: str | None, wanted: str | None) -> str:
    """Return what the base of this kind of node is to hold of the packages."""
    packages = wanted or DEFAULT_PACKAGES
    if kind == "vm" and packages != "installed":
        raise LabError(
            f"packages {packages} is for containers: machines have them installed, which takes too long where "
            "processors are emulated"
        )
    return packages


def _checked_controllers(count: int, names: Sequence[str]) -> int:
    """Return the number of controllers; an etcd of an even number of members is no better than one of one less."""
    if not 1 <= count <= len(names):
        raise LabError(f"{count} controllers of {len(names)} nodes: it is a number from 1 to {len(names)}")
    return count


def _listens(address: str) -> bool:
    """Return whether something listens on the SSH port of the address."""
    try:
        with socket.create_connection((address, SSH_PORT), timeout=1):
            return True
    except OSError:
        return False


def _shown(value: object) -> str:
    """Return a setting as the user would write it."""
    if isinstance(value, Sizes):
        return f"{value.cpus} CPUs, {value.memory_mib} MiB, {value.disk_gib} GiB"
    if isinstance(value, tuple):
        return (
            ",".join(f"{item.source}:{item.target}" if isinstance(item, Bind) else str(item) for item in value)
            or "none"
        )
    return str(value)
