"""Looking, planning and acting for one instance: each call brings it a step, or all the way, to what is asked for."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from etcdcompute.agent.assignments import Assignments
from etcdcompute.agent.domain_xml import mac_address
from etcdcompute.agent.errors import BuildError, DiskFull, PlacementUnavailable
from etcdcompute.agent.hypervisor import DomainState, Hypervisor
from etcdcompute.agent.images import ImageCache
from etcdcompute.agent.orphans import Orphans
from etcdcompute.agent.plan import Step, plan_present
from etcdcompute.agent.status import Report, StatusWriter
from etcdcompute.agent.steps import Steps, View
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Item
from etcdcompute.model import Address, Assignment, DocumentError, Instance, InstanceStatus, Phase, PowerState, keys
from etcdcompute.model.stored import parse_instance

_LOG = logging.getLogger(__name__)

_BUILD_RETRY_FIRST_S = 5.0
_BUILD_RETRY_LIMIT_S = 300.0
_SHUTDOWN_LIMIT_S = 60.0
_SHUTDOWN_REPEAT_S = 5.0
_ADDRESS_FIRST_S = 0.25
_ADDRESS_SHARE = 0.15
# A guest that goes off this soon after its start is not started at once again and again.
_SHORT_LIFE_S = 60.0
_FREE_RESTARTS = 2
_RESTART_LIMIT_S = 60.0
# How often to look whether there is space again, and the least time between two attempts to go on.
_SPACE_REPEAT_S = 5.0


@dataclass(slots=True)
class _Memory:
    """What is remembered of an instance between two looks; all of it may be lost."""

    failed_generation: int = 0
    failures: int = 0
    retry_at: float = 0.0
    shutdown_since: float | None = None
    started_at: float | None = None
    short_lives: int = 0
    running_since: float | None = None
    resumed_at: float | None = None


class Reconciler:
    """Brings about instances. Safe to use from any thread, one instance by one thread at a time.

    `address_limit_s` is the longest pause between two looks for a first address.
    """

    def __init__(
        self,
        *,
        host_uuid: str,
        store: Client,
        assignments: Assignments,
        hypervisor: Hypervisor,
        images: ImageCache,
        steps: Steps,
        status: StatusWriter,
        orphans: Orphans,
        address_limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host_uuid = host_uuid
        self._store = store
        self._assignments = assignments
        self._hypervisor = hypervisor
        self._images = images
        self._steps = steps
        self._status = status
        self._orphans = orphans
        self._address_limit_s = address_limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._memories: dict[str, _Memory] = {}

    def reconcile(self, uuid: str) -> float | None:
        """Look at one instance and act; return after how many seconds to look again, None where an event will say.

        Raises Unavailable, OutcomeUnknown and Conflict where it is to be tried again soon.
        """
        if uuid not in self._assignments.uuids():
            self._forget(uuid)
            return self._orphans.settle(uuid)
        # Not what was written last: of a document that does not parse the scheduler writes, too.
        self._status.forget(uuid)
        item = self._store.get(keys.instance(uuid))
        if item is None:
            return self._without_document(uuid)
        try:
            instance = parse_instance(uuid, item.value)
        except DocumentError as error:
            self._unreadable(uuid, error)
            return None
        if instance.deleted:
            return self._delete(instance, item)
        return self._bring_about(instance)

    # An instance that shall be here

    def _bring_about(self, instance: Instance) -> float | None:
        memory = self._memory(instance.uuid)
        pause_s = memory.retry_at - self._clock()
        if memory.failed_generation == instance.generation and pause_s > 0:
            return pause_s
        try:
            delay_s = self._advance(instance, memory)
        except BuildError as error:
            return self._failed(instance, memory, error)
        return delay_s

    def _advance(self, instance: Instance, memory: _Memory) -> float | None:
        began = self._clock()
        view = self._steps.look(instance)
        if view.observed.domain is DomainState.PAUSED and instance.power_state is PowerState.RUNNING:
            return self._paused(instance, view)
        if view.observed.domain is DomainState.STARVED and instance.power_state is PowerState.RUNNING:
            pause_s = self._space_pause(instance, memory)
            if pause_s > 0:
                return pause_s
        overdue = memory.shutdown_since is not None and began - memory.shutdown_since >= _SHUTDOWN_LIMIT_S
        steps = plan_present(instance.power_state, view.observed, shutdown_overdue=overdue)
        if Step.DOMAIN_STARTED in steps:
            pause_s = self._restart_pause(instance, memory)
            if pause_s > 0:
                return pause_s
        if steps:
            self._report_building(instance)
        for step in steps:
            if not self._apply(step, instance, view, memory):
                return None
        memory.failures = memory.failed_generation = 0
        if Step.SHUTDOWN_REQUESTED in steps:
            return _SHUTDOWN_REPEAT_S
        delay_s = self._report_reached(instance, memory)
        if steps:
            _LOG.info(
                "instance %s (%s): %s in %.3f s: %s",
                instance.name,
                instance.uuid,
                instance.power_state,
                self._clock() - began,
                ", ".join(steps),
            )
        return delay_s

    def _apply(self, step: Step, instance: Instance, view: View, memory: _Memory) -> bool:
        """Carry out one step; False where the rest has to wait for an event."""
        match step:
            case Step.IMAGE_CACHED:
                return self._steps.cache_image(instance)
            case Step.DISK_CREATED:
                self._steps.create_disk(instance)
            case Step.SEED_CREATED:
                self._steps.create_seed(instance)
            case Step.DOMAIN_DEFINED if view.definition is not None:
                self._steps.define_domain(view.definition)
            case Step.DOMAIN_STARTED:
                self._steps.start_domain(instance)
                memory.started_at = memory.running_since = self._clock()
            case Step.DOMAIN_RESUMED:
                self._steps.resume_domain(instance)
                memory.resumed_at = self._clock()
            case Step.SHUTDOWN_REQUESTED:
                memory.shutdown_since = memory.shutdown_since or self._clock()
                self._steps.request_shutdown(instance)
            case Step.DOMAIN_DESTROYED:
                _LOG.info("instance %s did not shut down in %g s: switched off", instance.uuid, _SHUTDOWN_LIMIT_S)
                self._steps.destroy_domain(instance)
            case _:
                raise AssertionError(f"{step} is no step towards an instance")
        return True

    def _report_building(self, instance: Instance) -> None:
        """Say that work has begun; an error stays until it has been overcome."""
        status = self._status.current(instance.uuid)
        if status is None or status.phase in (Phase.PENDING, Phase.ASSIGNED):
            self._status.write(instance.uuid, Report(Phase.BUILDING, 0))

    def _report_reached(self, instance: Instance, memory: _Memory) -> float | None:
        memory.shutdown_since = None
        if instance.power_state is PowerState.STOPPED:
            memory.running_since = memory.started_at = None
            memory.short_lives = 0
            self._status.write(instance.uuid, Report(Phase.STOPPED, instance.generation))
            return None
        if memory.running_since is None:
            memory.running_since = self._clock()
        addresses = self._addresses(instance)
        self._status.write(instance.uuid, Report(Phase.RUNNING, instance.generation, addresses))
        if addresses or not instance.networks:
            return None
        age_s = self._clock() - memory.running_since
        return min(max(_ADDRESS_FIRST_S, age_s * _ADDRESS_SHARE), self._address_limit_s)

    def _addresses(self, instance: Instance) -> tuple[Address, ...]:
        if not instance.networks:
            return ()
        leases = any(each.network is not None for each in instance.networks)
        neighbours = any(each.bridge is not None for each in instance.networks)
        networks = {
            mac_address(instance.uuid, index): each.network or each.bridge or ""
            for index, each in enumerate(instance.networks)
        }
        found = self._hypervisor.addresses(instance.uuid, leases=leases, neighbours=neighbours)
        addresses = tuple(
            Address(mac=each.mac, ip=each.ip, network=networks[each.mac]) for each in found if each.mac in networks
        )
        if not addresses:
            # Leases are forgotten when libvirt's network restarts; the guest's address is not.
            status = self._status.current(instance.uuid)
            if status is not None and status.phase is Phase.RUNNING:
                return status.addresses
        return addresses

    def _paused(self, instance: Instance, view: View) -> float | None:
        reason = "" if view.domain is None else view.domain.reason
        message = f"the domain is paused: {reason}; virsh resume {instance.uuid} on the host lets it go on"
        report = Report(Phase.ERROR, instance.generation, code="domain_paused", message=message)
        self._status.write(instance.uuid, report)
        return None

    def _space_pause(self, instance: Instance, memory: _Memory) -> float:
        """Return how long to wait before a domain that found no space may go on; 0 where there is some."""
        pause_s = 0.0 if memory.resumed_at is None else memory.resumed_at + _SPACE_REPEAT_S - self._clock()
        if pause_s <= 0:
            if self._steps.has_space(instance):
                return 0.0
            pause_s = _SPACE_REPEAT_S
        message = (
            "the guest is paused, for its disk finds no space left on this host: free some, and it goes on by itself"
        )
        report = Report(Phase.ERROR, instance.generation, code=DiskFull.code, message=message)
        self._status.write(instance.uuid, report)
        return pause_s

    def _restart_pause(self, instance: Instance, memory: _Memory) -> float:
        """Return how long to wait before the domain is started again; 0 where its last life was long enough."""
        if memory.started_at is None:
            return 0.0
        now = self._clock()
        if memory.running_since is not None:
            # Seen off for the first time since that start.
            memory.running_since = None
            memory.short_lives = memory.short_lives + 1 if now - memory.started_at < _SHORT_LIFE_S else 0
        if memory.short_lives <= _FREE_RESTARTS:
            return 0.0
        message = "the guest goes off soon after each start: look at its console, or stop or delete the instance"
        report = Report(Phase.ERROR, instance.generation, code="guest_exits", message=message)
        self._status.write(instance.uuid, report)
        exponent = min(memory.short_lives - _FREE_RESTARTS, 10)
        return memory.started_at + float(min(2**exponent, _RESTART_LIMIT_S)) - now

    def _failed(self, instance: Instance, memory: _Memory, error: BuildError) -> float:
        message = str(error)
        try:
            self._steps.undo_attempt(instance)
        except BuildError as remains:
            message += f"; and what there is of it could not be removed: {remains}"
        if memory.failed_generation != instance.generation:
            memory.failures = 0
        pause_s = float(min(_BUILD_RETRY_LIMIT_S, _BUILD_RETRY_FIRST_S * 2 ** min(memory.failures, 16)))
        _LOG.warning("instance %s (%s): %s; next attempt in %g s", instance.name, instance.uuid, message, pause_s)
        memory.failures += 1
        memory.failed_generation = instance.generation
        memory.retry_at = self._clock() + pause_s
        report = Report(Phase.ERROR, instance.generation, code=error.code, message=message)
        self._status.write(instance.uuid, report)
        return pause_s

    # An instance that shall go, and documents that are not as they should be

    def _delete(self, instance: Instance, item: Item) -> float | None:
        began = self._clock()
        uuid = instance.uuid
        self._images.withdraw(uuid)
        status = self._status.current(uuid)
        if status is None or status.phase is not Phase.DELETING:
            self._status.write(uuid, Report(Phase.DELETING, _observed(status)))
        try:
            self._steps.remove_locally(uuid)
            self._steps.release_allocation(uuid)
        except (BuildError, PlacementUnavailable) as error:
            report = Report(Phase.DELETING, instance.generation, code=error.code, message=str(error))
            self._status.write(uuid, report)
            if isinstance(error, BuildError):
                return _BUILD_RETRY_FIRST_S
            raise
        self._steps.remove_keys(instance, item)
        self._forget(uuid)
        _LOG.info("instance %s (%s): deleted in %.3f s", instance.name, uuid, self._clock() - began)
        return None

    def _without_document(self, uuid: str) -> float | None:
        if self._store.get(keys.assignment(self._host_uuid, uuid)) is None:
            # The watch has not yet told that the assignment went together with the instance.
            return None
        message = (
            "the instance is assigned to this host, but its document is gone from etcd: its domain is left as it is; "
            f"put the document back, or remove {keys.assignment(self._host_uuid, uuid)} to have the domain removed"
        )
        report = Report(Phase.ERROR, 0, code="instance_missing", message=message)
        self._status.write(uuid, report)
        return None

    def _unreadable(self, uuid: str, error: DocumentError) -> None:
        """Say so and leave everything as it is."""
        generation = 0
        item = self._store.get(keys.assignment(self._host_uuid, uuid))
        if item is not None:
            try:
                generation = Assignment.from_json(item.value).generation
            except DocumentError as also:
                _LOG.debug("%s: %s", item.key, also)
        report = Report(Phase.ERROR, generation, code=error.code, message=str(error))
        self._status.write(uuid, report)

    def _memory(self, uuid: str) -> _Memory:
        with self._lock:
            return self._memories.setdefault(uuid, _Memory())

    def _forget(self, uuid: str) -> None:
        self._images.withdraw(uuid)
        self._status.forget(uuid)
        with self._lock:
            self._memories.pop(uuid, None)


def _observed(status: InstanceStatus | None) -> int:
    return 0 if status is None else status.observed_generation
