"""Real etcd, real placement and real schedulers as processes; hosts are what their agents would write."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from etcdcompute.errors import EtcdComputeError
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Remove, Write
from etcdcompute.model import (
    Assignment,
    Host,
    HostCapabilities,
    HostVersions,
    ImageSource,
    Instance,
    InstanceStatus,
    keys,
)
from etcdcompute.model.clock import timestamp
from etcdcompute.placement.client import Inventory, PlacementClient
from tests.functional.etcd_server import EtcdServer
from tests.functional.ports import free_ports
from tests.functional.waiting import TIMEOUT_S, eventually

_PROGRAM = (sys.executable, "-c", "from etcdcompute.cli import main; main()")


class Daemon:
    """One `etcdcompute …` process, with its log in a file."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], directory: Path) -> None:
        self.log_file = directory / f"{name}.log"
        self._log = self.log_file.open("ab")
        self.process = subprocess.Popen(
            [*_PROGRAM, *arguments], env=_inherited() | environment, stdout=self._log, stderr=self._log
        )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        return self.process.wait(timeout_s)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._log.close()
        return code


class Cloud:
    """A control plane without agents. Its etcd is empty and running."""

    def __init__(self, etcd: EtcdServer, directory: Path) -> None:
        self.etcd = etcd
        self.directory = directory
        self.failpoints = directory / "failpoints"
        self.failpoints.mkdir()
        port = free_ports(1)[0]
        self.placement_url = f"http://127.0.0.1:{port}"
        self.environment = {
            "ETCDCOMPUTE_CONFIG": str(directory / "etcdcompute.yaml"),
            "ETCDCOMPUTE_ETCD_ENDPOINTS": etcd.endpoint,
            "ETCDCOMPUTE_PLACEMENT_URLS": self.placement_url,
            "ETCDCOMPUTE_PLACEMENT_LISTEN": f"127.0.0.1:{port}",
            "ETCDCOMPUTE_SCHEDULER_LEADER_TTL_S": "2",
            "ETCDCOMPUTE_SCHEDULER_RETRY_INTERVAL_S": "1",
            "ETCDCOMPUTE_FAILPOINTS": str(self.failpoints),
        }
        (directory / "etcdcompute.yaml").write_text("log: {level: debug}\n")
        self.store = Client([etcd.endpoint])
        self.placement = PlacementClient([self.placement_url])
        self._daemons: list[Daemon] = []
        self._placement_process: Daemon | None = None

    # Processes

    def start_placement(self, *, wait: bool = True) -> Daemon:
        self._placement_process = self._start("placement", ["placement", "serve"])
        if wait:
            eventually(self._placement_answers, "placement answers")
        return self._placement_process

    def start_placement_again(self) -> Daemon:
        """Replace the running placement by one that the test may end."""
        assert self._placement_process is not None
        self._placement_process.end()
        return self.start_placement()

    def start_scheduler(self, *, wait: bool = True, **environment: str) -> Daemon:
        name = f"scheduler-{len(self._daemons)}"
        daemon = self._start(name, ["scheduler", "run"], ETCDCOMPUTE_SCHEDULER_IDENTITY=name, **environment)
        if wait:
            eventually(lambda: self.leader() == name, f"{name} leads")
        return daemon

    def _start(self, name: str, arguments: list[str], **environment: str) -> Daemon:
        daemon = Daemon(name, arguments, self.environment | environment, self.directory)
        self._daemons.append(daemon)
        return daemon

    def _placement_answers(self) -> bool:
        try:
            self.placement.list_resource_providers()
        except EtcdComputeError:
            return False
        return True

    def leader(self) -> str | None:
        item = self.store.get(keys.SCHEDULER_LEADER)
        return item.value.decode() if item else None

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [*_PROGRAM, *arguments], env=self._surroundings(**environment), capture_output=True, text=True, timeout=60
        )

    def run_telling(self, told: Callable[[str], object], *arguments: str) -> int:
        """Run the command line to its end, calling `told` with each line that it remarks; return its exit status."""
        with subprocess.Popen(
            [*_PROGRAM, *arguments], env=self._surroundings(), stderr=subprocess.PIPE, text=True, bufsize=1
        ) as running:
            assert running.stderr is not None
            for line in running.stderr:
                told(line.rstrip("\n"))
        return running.returncode

    def _surroundings(self, **environment: str) -> dict[str, str]:
        return _inherited() | self.environment | environment

    # Hosts, as agents would make them

    def add_host(
        self, name: str, *, vcpus: int = 8, memory_mib: int = 4096, disk_gib: int = 100, max_unit: int | None = None
    ) -> str:
        host = str(uuid.uuid4())
        provider = self.placement.ensure_resource_provider(host, name)
        self.placement.set_inventories(
            host,
            {
                "VCPU": Inventory(vcpus, max_unit=max_unit or vcpus),
                "MEMORY_MB": Inventory(memory_mib, max_unit=memory_mib),
                "DISK_GB": Inventory(disk_gib, max_unit=disk_gib),
            },
            provider.generation,
        )
        document = Host(
            uuid=host,
            name=name,
            address="192.0.2.1",
            versions=HostVersions(etcdcompute="0"),
            capabilities=HostCapabilities(arch="x86_64", virt_type="qemu", virt_reason="there is no KVM"),
            registered_at=timestamp(),
            updated_at=timestamp(),
        )
        self.write(keys.host(host), document.to_json())
        self.set_alive(host)
        return host

    def set_alive(self, host: str, alive: bool = True) -> None:
        if alive:
            self.write(keys.alive(host), b"")
        else:
            self.store.commit([], [Remove(keys.alive(host))])

    def report(self, instance: str, host: str, **fields: Any) -> None:
        """Write a status as the host's agent would."""
        status = InstanceStatus(
            uuid=instance, host=host, host_uuid=host, phase_since=timestamp(), updated_at=timestamp(), **fields
        )
        self.write(keys.instance_status(instance), status.to_json())

    def undo(self, host: str, instance: Instance) -> None:
        """End an instance as the host's agent would."""
        self.placement.release(instance.uuid)
        gone = [
            keys.assignment(host, instance.uuid),
            keys.instance(instance.uuid),
            keys.instance_name(instance.name),
            keys.instance_status(instance.uuid),
        ]
        self.store.commit([Compare.present(gone[0])], [Remove(key) for key in gone])

    # Documents

    def write(self, key: str, value: bytes) -> int:
        result = self.store.commit([], [Write(key, value)])
        assert isinstance(result, Committed)
        return result.revision

    def instance(self, name: str) -> Instance | None:
        item = self.store.get(keys.instance(name))
        return Instance.from_json(item.value) if item else None

    def status(self, name: str) -> InstanceStatus | None:
        item = self.store.get(keys.instance_status(name))
        return InstanceStatus.from_json(item.value) if item else None

    def assignments(self, instance: str) -> list[Assignment]:
        items = self.store.read_prefix(keys.ASSIGNMENTS).items
        return [Assignment.from_json(item.value) for item in items if keys.last_segment(item.key) == instance]

    def wait_assigned(self, instance: str, generation: int = 1) -> Assignment:
        def probe() -> Assignment | None:
            found = [each for each in self.assignments(instance) if each.generation == generation]
            return found[0] if found else None

        return eventually(probe, f"{instance} is assigned; status {self.status(instance)}")

    def wait_status(self, instance: str, probe: Callable[[InstanceStatus], bool]) -> InstanceStatus:
        def matching() -> InstanceStatus | None:
            status = self.status(instance)
            return status if status is not None and probe(status) else None

        try:
            return eventually(matching, "the status")
        except AssertionError as error:
            raise AssertionError(f"status is {self.status(instance)}") from error

    def wait_gone(self, instance: Instance) -> None:
        """Wait until no key and no claim of the instance is left."""
        for key in (keys.instance(instance.uuid), keys.instance_status(instance.uuid)):
            eventually(lambda key=key: self.store.get(key) is None, f"{key} is gone")  # type: ignore[misc]
        name = self.store.get(keys.instance_name(instance.name))
        assert name is None or name.value.decode() != instance.uuid
        assert self.assignments(instance.uuid) == []
        assert self.placement.get_allocations(instance.uuid).allocations == {}

    def arm(self, point: str, action: str) -> Path:
        """Arm a failpoint; return the file whose presence says that it holds."""
        (self.failpoints / point).write_text(action)
        return self.failpoints / f"{point}.held"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.store.close()
        self.placement.close()
        for daemon in self._daemons:
            daemon.end()
        if kind is None:
            for daemon in self._daemons:
                assert "BUG:" not in daemon.log, daemon.log
                assert "Traceback" not in daemon.log, daemon.log


def new_instance(name: str = "web-1", *, vcpus: int = 1, **fields: Any) -> Instance:
    """Return an instance that fits on any host."""
    given: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "name": name,
        "image": ImageSource(url="/images/x.qcow2", sha256="0" * 64),
        "resources": {"VCPU": vcpus, "MEMORY_MB": 256, "DISK_GB": 1},
        "created_at": timestamp(),
    }
    return Instance(**(given | fields))


def _inherited() -> dict[str, str]:
    """Return this process's variables without our own ones."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ETCDCOMPUTE_")}
