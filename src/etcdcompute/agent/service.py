"""The agent's process: wiring and threads.

    watch ──uuid──▶ queue ──▶ workers ──▶ reconcile ──▶ libvirt, files, placement, etcd
    libvirt's events ──uuid──▲     ▲
    images ready ────────────┘     └── resync: everything, every agent.resync_interval_s

    registration: host document, provider, liveness; on a timer, and at once when the host's document changes

Nothing here ends because etcd, placement or libvirt is away: it is tried again quietly, and said once.
"""

import logging
import platform
import socket
import threading
import uuid as uuid_module
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from etcdcompute.agent.assignments import Assignments
from etcdcompute.agent.domain_xml import HostFlavour
from etcdcompute.agent.driver import LibvirtDriver
from etcdcompute.agent.errors import BuildError, HostTaken, LibvirtUnavailable, PlacementUnavailable
from etcdcompute.agent.identity import AgentLock, StoreMemory, host_uuid
from etcdcompute.agent.images import ImageCache
from etcdcompute.agent.liveness import Liveness
from etcdcompute.agent.machine import own_address, read_cpu_flags, read_disk, read_machine
from etcdcompute.agent.orphans import Orphans, ensure_cluster
from etcdcompute.agent.outage import Outage
from etcdcompute.agent.paths import StatePaths
from etcdcompute.agent.probe import choose_virtualisation
from etcdcompute.agent.reconcile import Reconciler
from etcdcompute.agent.registration import HostFacts, Registration
from etcdcompute.agent.status import StatusWriter
from etcdcompute.agent.steps import Host, Steps
from etcdcompute.agent.sweep import sweep
from etcdcompute.agent.trouble import describe_clock, describe_disk
from etcdcompute.config import Settings
from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict, EtcdComputeError, InvalidInput, Stopped
from etcdcompute.kv.client import Client
from etcdcompute.kv.connect import connect
from etcdcompute.kv.records import Progress
from etcdcompute.model import keys
from etcdcompute.placement.client import PlacementClient
from etcdcompute.systemd import notify_ready
from etcdcompute.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)

_RETRY_BASE_S = 0.1
_RETRY_LIMIT_S = 5.0
_RESTART_PAUSE_S = 1.0
_JOIN_S = 20.0
_LIBVIRT_GRACE_S = 3.0


def run_agent(settings: Settings, stop: threading.Event) -> None:
    """Run the agent of this host until `stop` is set. Domains go on running without it.

    Raises InvalidInput and AlreadyExists for what a person has to put right; nothing else ends it.
    """
    paths = StatePaths(Path(settings.agent.state_dir))
    with ExitStack() as held:
        try:
            paths.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            held.enter_context(AgentLock(paths.lock))
            paths.prepare()
            uuid = host_uuid(paths.host_uuid)
        except OSError as error:
            raise InvalidInput(
                f"agent.state_dir {paths.root}: {error.strerror or error}: give the agent a directory it can write"
            ) from error
        facts = _facts(settings, uuid)
        _LOG.info("host %s (%s), state in %s", facts.name, facts.uuid, paths.root)
        Agent(settings, paths, facts).run(stop)


def _facts(settings: Settings, uuid: str) -> HostFacts:
    cpu_flags = read_cpu_flags()
    chosen = choose_virtualisation(settings.agent.virt_type, cpu_flags=cpu_flags)
    return HostFacts(
        uuid=uuid,
        name=settings.agent.host_name or socket.gethostname(),
        address=settings.agent.address or own_address(settings.etcd.endpoints[0]),
        arch=platform.machine(),
        virt_type=chosen.virt_type,
        virt_reason=chosen.reason,
        cpu_flags=cpu_flags,
    )


class Agent:
    """All parts of one agent, put together."""

    def __init__(self, settings: Settings, paths: StatePaths, facts: HostFacts) -> None:
        self._settings = settings.agent
        self._closing = ExitStack()
        self._stop = threading.Event()
        self._touched = threading.Event()
        self._resync_now = threading.Event()
        self._libvirt_seen = threading.Event()
        # No other machine is this host: until that is known, and once it is not so, nothing is touched.
        self._alone = threading.Event()
        self._told_taken = ""
        self._queue: WorkQueue[str] = WorkQueue(retry_base_s=_RETRY_BASE_S, retry_limit_s=_RETRY_LIMIT_S)
        self._etcd_outage = Outage("etcd")
        self._placement_outage = Outage("placement")
        self._memory = StoreMemory(paths.store)
        self._facts = facts
        self._store: Client = self._closing.enter_context(connect(settings.etcd))
        self._paths = paths
        self._placement = placement = PlacementClient(
            settings.placement.urls,
            token=settings.placement.token or None,
            timeout_s=settings.placement.request_timeout_s,
        )
        self._closing.callback(placement.close)
        self._driver = LibvirtDriver(
            settings.agent.libvirt_uri,
            outage=Outage("libvirt"),
            on_connected=self._libvirt_connected,
            on_domain_changed=self._domain_changed,
            # The workers, the resync and the registration, so that nobody waits for anybody.
            parallel=settings.agent.workers + 2,
        )
        self._images = ImageCache(paths, timeout_s=settings.agent.image_timeout_s, on_ready=self._queue.add)
        self._assignments = Assignments(
            self._store, facts.uuid, on_changed=self._queue.add, on_listed=self._resync_now.set
        )
        steps = Steps(
            host=Host(facts.uuid, HostFlavour(facts.arch, facts.virt_type)),
            paths=paths,
            hypervisor=self._driver,
            images=self._images,
            store=self._store,
            placement=placement,
            placement_outage=self._placement_outage,
        )
        self._orphans = Orphans(
            host_uuid=facts.uuid,
            store=self._store,
            memory=self._memory,
            assignments=self._assignments,
            hypervisor=self._driver,
            paths=paths,
            placement=placement,
            placement_outage=self._placement_outage,
            steps=steps,
        )
        self._reconciler = Reconciler(
            host_uuid=facts.uuid,
            store=self._store,
            assignments=self._assignments,
            hypervisor=self._driver,
            images=self._images,
            steps=steps,
            status=StatusWriter(self._store, host_uuid=facts.uuid, host_name=facts.name),
            orphans=self._orphans,
            address_limit_s=settings.agent.resync_interval_s,
        )
        self._registration = Registration(
            facts=facts,
            settings=settings.agent,
            store=self._store,
            placement=placement,
            placement_outage=self._placement_outage,
            hypervisor=self._driver,
            read_machine=lambda: read_machine(paths.root),
            read_trouble=self._trouble,
        )
        self._liveness = Liveness(
            self._store,
            facts.uuid,
            machine=f"{facts.name} ({facts.address})",
            ttl_s=settings.agent.alive_ttl_s,
            lost=self._touched,
        )

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, then let the workers finish what they are at."""
        threads = [self._thread("watch-assignments", lambda: self._assignments.follow(self._stop))]
        threads += [self._thread(f"worker-{number}", self._work) for number in range(self._settings.workers)]
        threads += [
            self._thread("resync", self._resync),
            self._thread("registration", self._register),
            self._thread("watch-host", self._watch_host),
        ]
        self._driver.open()
        try:
            for thread in threads:
                thread.start()
            # What etcd, placement and libvirt are doing is not this unit's start.
            notify_ready(f"host {self._facts.name}")
            stop.wait()
        finally:
            self._stop.set()
            self._touched.set()
            self._resync_now.set()
            self._libvirt_seen.set()
            self._queue.close()
            self._images.close()
            deadline = Deadline.after(_JOIN_S)
            for thread in threads:
                thread.join(deadline.remaining_s)
                if thread.is_alive():
                    _LOG.warning("thread %s is still busy: left behind", thread.name)
            self._liveness.end()
            self._driver.close()
            self._closing.close()

    def _thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Return a thread that runs `target` again, after a pause, however it ends, until the agent stops."""

        def supervised() -> None:
            while not self._stop.is_set():
                try:
                    target()
                except Stopped:
                    pass
                except EtcdComputeError as error:
                    self._etcd_outage.begin(error)
                except Exception:  # noqa: BLE001 - one bug must not end the agent
                    _LOG.exception("BUG: thread %s failed and goes on", name)
                self._stop.wait(_RESTART_PAUSE_S)

        # Daemons: a worker that waits for a hung libvirtd must not keep the process from ending.
        return threading.Thread(target=supervised, name=name, daemon=True)

    def _trouble(self) -> str:
        """Say in a sentence what is wrong with this host, "" where nothing is."""
        return (
            self._memory.suspicion
            or self._placement_outage.reason
            or next(filter(None, (describe_disk(each, read_disk(each)) for each in self._paths.folders)), "")
            or describe_clock(self._placement.clock_offset)
        )

    def _libvirt_connected(self) -> None:
        """Look at everything: events were lost while there was no connection."""
        self._libvirt_seen.set()
        self._resync_now.set()
        self._touched.set()

    def _domain_changed(self, uuid: str) -> None:
        if uuid in self._assignments.uuids():
            self._queue.add(uuid)

    def _work(self) -> None:
        while (uuid := self._queue.get()) is not None:
            try:
                self._work_on(uuid)
            finally:
                self._queue.done(uuid)

    def _work_on(self, uuid: str) -> None:
        if not self._alone.is_set():
            self._queue.retry(uuid)
            return
        try:
            delay_s = self._reconciler.reconcile(uuid)
        except Stopped:
            return
        except (LibvirtUnavailable, PlacementUnavailable):
            # Their outages have been noted where they were met.
            self._etcd_outage.end()
            self._queue.retry(uuid)
            return
        except Conflict as error:
            _LOG.debug("instance %s: looked at again: %s", uuid, error)
            self._queue.retry(uuid)
            return
        except BuildError as error:
            # Of an orphan, which has no status to say it in.
            level = logging.DEBUG if self._queue.failures(uuid) else logging.WARNING
            _LOG.log(level, "instance %s: trying on: %s", uuid, error)
            self._queue.retry(uuid)
            return
        except EtcdComputeError as error:
            self._etcd_outage.begin(error)
            self._queue.retry(uuid)
            return
        except Exception:  # noqa: BLE001 - one instance must not end the agent
            _LOG.exception("BUG: instance %s could not be worked on", uuid)
            self._queue.retry(uuid)
            return
        self._etcd_outage.end()
        self._queue.forget(uuid)
        if delay_s is not None:
            self._queue.add_after(uuid, delay_s)

    def _resync(self) -> None:
        while not self._stop.is_set():
            self._resync_now.wait(self._settings.resync_interval_s)
            self._resync_now.clear()
            if self._stop.is_set():
                return
            sweep(self._assignments, self._orphans, self._queue)

    def _register(self) -> None:
        """Register now, then whenever something touches the host, and on the timer; until it works, often."""
        pause_s = _RETRY_BASE_S
        # A host without libvirt is disabled in placement: a start of the agent alone must not do that.
        self._libvirt_seen.wait(_LIBVIRT_GRACE_S)
        while not self._stop.is_set():
            self._touched.clear()
            try:
                self._liveness.check_alone()
                self._begin_work()
                ensure_cluster(self._store, self._memory, identity=str(uuid_module.uuid4()))
                self._registration.register()
                self._liveness.ensure()
                # Last, for it may have to wait for a server that does not answer.
                self._placement.compare_clock()
                self._etcd_outage.end()
                pause_s = _RETRY_BASE_S
                wait_s = self._settings.resync_interval_s
            except PlacementUnavailable:
                if self._registration.registered.is_set():
                    self._liveness.ensure()
                wait_s = pause_s = min(pause_s * 2, _RETRY_LIMIT_S)
            except Stopped:
                return
            except HostTaken as error:
                self._stand_back(error)
                wait_s = _RETRY_LIMIT_S
            except Conflict as error:
                _LOG.debug("registered again: %s", error)
                wait_s = pause_s = min(pause_s * 2, _RETRY_LIMIT_S)
            except EtcdComputeError as error:
                self._etcd_outage.begin(error)
                wait_s = pause_s = min(pause_s * 2, _RETRY_LIMIT_S)
            self._touched.wait(wait_s)

    def _begin_work(self) -> None:
        if not self._alone.is_set():
            self._alone.set()
            self._told_taken = ""
            self._resync_now.set()

    def _stand_back(self, reason: HostTaken) -> None:
        self._alone.clear()
        if self._told_taken != str(reason):
            self._told_taken = str(reason)
            _LOG.error("%s", reason)

    def _watch_host(self) -> None:
        """Have the host registered anew when its document changes: an operator cordons it there."""
        for event in self._store.watch(keys.host(self._facts.uuid), stop=self._stop):
            if not isinstance(event, Progress):
                self._touched.set()
