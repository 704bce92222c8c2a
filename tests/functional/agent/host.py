"""A compute host for tests: a real agent process, libvirtd, etcd and placement; the test plays client and scheduler."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import libvirt
import msgspec

from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, PutEvent, Remove, Snapshot, Write
from etcdcompute.model import Assignment, ImageSource, Instance, InstanceStatus, NetworkAttachment, PowerState, keys
from etcdcompute.model.clock import timestamp
from etcdcompute.placement.client import PlacementClient
from tests.functional.agent.libvirt_server import LibvirtServer
from tests.functional.etcd_server import EtcdServer
from tests.functional.waiting import eventually

WAIT_S = 60.0


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """Wait until `condition` is true and return its value."""
    return eventually(condition, what, timeout_s)


class ComputeHost:
    """One host and its agent."""

    def __init__(self, directory: Path, etcd: EtcdServer, placement_url: str, libvirtd: LibvirtServer) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.failpoints = directory / "failpoints"
        self.failpoints.mkdir()
        self.log = directory / "agent.log"
        self.store = Client([etcd.endpoint])
        self.placement = PlacementClient([placement_url])
        self._libvirtd = libvirtd
        self._environment = {
            "ETCDCOMPUTE_ETCD_ENDPOINTS": etcd.endpoint,
            "ETCDCOMPUTE_PLACEMENT_URLS": placement_url,
            "ETCDCOMPUTE_AGENT_STATE_DIR": str(self.state),
            "ETCDCOMPUTE_AGENT_LIBVIRT_URI": libvirtd.uri,
            "ETCDCOMPUTE_AGENT_HOST_NAME": "host1",
            "ETCDCOMPUTE_AGENT_VIRT_TYPE": "qemu",
            "ETCDCOMPUTE_AGENT_RESYNC_INTERVAL_S": "2",
            "ETCDCOMPUTE_AGENT_ALIVE_TTL_S": "2",
            "ETCDCOMPUTE_AGENT_IMAGE_TIMEOUT_S": "20",
            "ETCDCOMPUTE_LOG_LEVEL": "info",
            "ETCDCOMPUTE_FAILPOINTS": str(self.failpoints),
        }
        self._agent: subprocess.Popen[bytes] | None = None

    # The agent

    def start_agent(self) -> None:
        """Start the agent; returns at once."""
        with self.log.open("ab") as log:
            self._agent = subprocess.Popen(
                [
                    sys.executable,
                    "-X",
                    "faulthandler",
                    "-c",
                    "from etcdcompute.cli import main; main()",
                    "agent",
                    "run",
                ],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
            )

    def wait_registered(self) -> None:
        """Wait until the host is alive to others."""
        wait_until(lambda: not self.agent_runs or (self.state / "host-uuid").exists(), "the agent is up")
        assert self.agent_runs, self.log.read_text()
        wait_until(lambda: self.store.get(keys.alive(self.uuid)), "the host is alive")

    def kill_agent(self) -> None:
        """End the agent as a power cut would."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(WAIT_S)
        self._agent = None

    def stop_agent(self) -> int:
        """End the agent as systemd would; return its exit status."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)
        try:
            status = self._agent.wait(WAIT_S / 2)
        except subprocess.TimeoutExpired:
            # Python's fault handler writes all threads' stacks to the log.
            self._agent.send_signal(signal.SIGABRT)
            self._agent.wait(WAIT_S)
            raise AssertionError(f"the agent does not stop: {self.log.read_text()}") from None
        finally:
            self._agent = None
        return status

    def wait_agent_killed(self) -> None:
        """Wait until a failpoint has killed the agent."""
        assert self._agent is not None
        assert self._agent.wait(WAIT_S) == -signal.SIGKILL
        self._agent = None

    def arm(self, failpoint: str, action: str = "kill") -> None:
        """Arm a failpoint of the agent."""
        (self.failpoints / failpoint).write_text(action)

    @property
    def agent_runs(self) -> bool:
        """Whether the agent is there."""
        return self._agent is not None and self._agent.poll() is None

    @property
    def uuid(self) -> str:
        """The host's uuid, as soon as the agent has made it."""
        path = self.state / "host-uuid"
        wait_until(path.exists, "the host has a uuid")
        return path.read_text().strip()

    # Client and scheduler

    def create(self, image: ImageSource, *, name: str = "", networks: tuple[NetworkAttachment, ...] = ()) -> Instance:
        """Put an instance, claim for it on this host and assign it."""
        instance = Instance(
            uuid=str(uuid.uuid4()),
            name=name or f"vm-{uuid.uuid4().hex[:8]}",
            image=image,
            resources={"VCPU": 1, "MEMORY_MB": 16, "DISK_GB": 1},
            networks=networks,
            created_at=timestamp(),
        )
        self.put(instance)
        self.assign(instance)
        return instance

    def put(self, instance: Instance) -> None:
        """Put an instance as a client does."""
        key, name = keys.instance(instance.uuid), keys.instance_name(instance.name)
        writes = [Write(key, instance.to_json()), Write(name, instance.uuid.encode())]
        assert isinstance(self.store.commit([Compare.absent(key), Compare.absent(name)], writes), Committed)

    def assign(self, instance: Instance, generation: int = 1) -> None:
        """Claim and assign as the scheduler does."""
        if not self.placement.get_allocations(instance.uuid).allocations:
            self.placement.claim(
                instance.uuid,
                {self.uuid: instance.resources},
                consumer_generation=None,
                project_id="test",
                user_id="test",
            )
        assignment = Assignment(instance=instance.uuid, host=self.uuid, generation=generation, assigned_at=timestamp())
        self.store.commit([], [Write(keys.assignment(self.uuid, instance.uuid), assignment.to_json())])

    def change(self, instance: Instance, **fields: object) -> Instance:
        """Change an instance as a client does, and raise its assignment's generation as the scheduler does."""
        changed = msgspec.structs.replace(instance, generation=instance.generation + 1, **fields)
        self.store.commit([], [Write(keys.instance(instance.uuid), changed.to_json())])
        self.assign(changed, changed.generation)
        return changed

    def delete(self, instance: Instance) -> Instance:
        """Mark an instance deleted."""
        return self.change(instance, deleted=True)

    def power(self, instance: Instance, state: PowerState) -> Instance:
        """Ask for another power state."""
        return self.change(instance, power_state=state)

    # What has become of it

    def wait_status(self, uuid_: str, phase: str, *, generation: int = 1, code: str = "") -> InstanceStatus:
        """Wait for a status with this phase, code and observed generation."""
        stop = threading.Event()
        timer = threading.Timer(WAIT_S, stop.set)
        timer.start()
        seen = None
        try:
            for event in self.store.watch(keys.instance_status(uuid_), stop=stop):
                items = event.items if isinstance(event, Snapshot) else ()
                items = (event.item,) if isinstance(event, PutEvent) else items
                for item in items:
                    seen = InstanceStatus.from_json(item.value)
                    if (seen.phase, seen.code) == (phase, code) and seen.observed_generation >= generation:
                        return seen
        finally:
            timer.cancel()
            stop.set()
        raise AssertionError(f"not {phase} in {WAIT_S} s but {seen}")

    def wait_gone(self, instance: Instance) -> None:
        """Wait until nothing is left of an instance anywhere."""
        wait_until(lambda: self.store.get(keys.instance(instance.uuid)) is None, "the instance's key is gone")
        self.assert_nothing_left(instance)

    def assert_nothing_left(self, instance: Instance) -> None:
        """Look everywhere an instance leaves traces."""
        for key in (
            keys.instance(instance.uuid),
            keys.instance_name(instance.name),
            keys.instance_status(instance.uuid),
            keys.assignment(self.uuid, instance.uuid),
        ):
            assert self.store.get(key) is None, key
        assert not self.placement.get_allocations(instance.uuid).allocations
        assert instance.uuid not in self.domains()
        assert not (self.state / "instances" / instance.uuid).exists()

    def assert_runs_once(self, instance: Instance) -> None:
        """Exactly one domain, running, and one allocation."""
        assert self.domains()[instance.uuid] is True
        assert dict(self.placement.get_allocations(instance.uuid).allocations) == {self.uuid: instance.resources}

    def domains(self) -> dict[str, bool]:
        """Return the domains by uuid, and whether they run."""
        connection = libvirt.open(self._libvirtd.uri)
        try:
            return {each.UUIDString(): bool(each.isActive()) for each in connection.listAllDomains()}
        finally:
            connection.close()

    def hypervisor_call(self, instance: Instance, method: str) -> None:
        """Do something to a domain behind the agent's back."""
        connection = libvirt.open(self._libvirtd.uri)
        try:
            getattr(connection.lookupByUUIDString(instance.uuid), method)()
        finally:
            connection.close()

    def console(self, instance: Instance) -> str:
        """Return what the guest wrote to its serial port."""
        path = self.state / "instances" / instance.uuid / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def remove_keys(self, *names: str) -> None:
        """Remove keys behind everybody's back."""
        self.store.commit([], [Remove(name) for name in names])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._agent is not None:
            self.kill_agent()
        self._undefine_all()
        self.store.close()
        self.placement.close()
        # What has gone wrong inside shows here, whatever the test looked at.
        log = self.log.read_text() if self.log.exists() else ""
        assert "BUG" not in log, log
        assert "Traceback" not in log, log

    def _undefine_all(self) -> None:
        connection = libvirt.open(self._libvirtd.uri)
        try:
            for domain in connection.listAllDomains():
                if domain.isActive():
                    domain.destroy()
                domain.undefine()
        finally:
            connection.close()
