"""What is on this host, or held on it in placement, and not assigned to it.

Removing on the absence of a key is what costs people their machines, so it takes: the store this host has always
known, not gone back in time (`identity.StoreMemory`); a fresh look at the assignment; and that the instance itself does
not exist. An instance that exists never leaves its host: if what it has here is not assigned here, it is the host that
is not who it was (its uuid's file was replaced, its state directory exchanged), and its guests must not pay for it.
"""

import logging
import threading

from etcdcompute.agent.assignments import Assignments
from etcdcompute.agent.hypervisor import Hypervisor
from etcdcompute.agent.identity import StoreMemory
from etcdcompute.agent.outage import Outage, placement_calls
from etcdcompute.agent.paths import StatePaths
from etcdcompute.agent.steps import Steps
from etcdcompute.errors import NotFound
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Compare, Write
from etcdcompute.model import keys
from etcdcompute.placement.client import Allocations, PlacementClient

_LOG = logging.getLogger(__name__)
_CONSUMER_TYPE = "INSTANCE"
_SOON_S = 0.2


def ensure_cluster(store: Client, memory: StoreMemory, *, identity: str) -> None:
    """Give an etcd that has none its id; never where this host has known an id that is now gone."""
    if memory.knows_a_store or store.get(keys.CLUSTER) is not None:
        return
    store.commit([Compare.absent(keys.CLUSTER)], [Write(keys.CLUSTER, identity.encode())])


class Orphans:
    """Finds and settles them. Safe to use from any thread."""

    def __init__(
        self,
        *,
        host_uuid: str,
        store: Client,
        memory: StoreMemory,
        assignments: Assignments,
        hypervisor: Hypervisor,
        paths: StatePaths,
        placement: PlacementClient,
        placement_outage: Outage,
        steps: Steps,
    ) -> None:
        self._host_uuid = host_uuid
        self._store = store
        self._memory = memory
        self._assignments = assignments
        self._hypervisor = hypervisor
        self._paths = paths
        self._placement = placement
        self._placement_outage = placement_outage
        self._steps = steps
        self._lock = threading.Lock()
        self._allocated: set[str] = set()
        self._kept: set[str] = set()
        self._reading_store = threading.Lock()

    def find_local(self) -> frozenset[str]:
        """Return the instances that have a domain or files here and are not assigned here."""
        if not self._assignments.complete:
            return frozenset()
        local = {domain.uuid for domain in self._hypervisor.own_domains()} | self._paths.instance_uuids()
        return frozenset(local - self._assignments.uuids())

    def find_allocated(self) -> frozenset[str]:
        """Return the consumers of this host's provider that are not instances assigned here."""
        if not self._assignments.complete:
            return frozenset()
        with placement_calls(self._placement_outage):
            try:
                consumers = self._placement.get_provider_allocations(self._host_uuid).allocations
            except NotFound:
                return frozenset()
        found = frozenset(consumers) - self._assignments.uuids()
        with self._lock:
            self._allocated |= found
        return found

    def settle(self, uuid: str) -> float | None:
        """Remove what there is of an instance that is not assigned here, if that is certain.

        Return after how many seconds to look again, None for the next sweep.
        """
        with self._lock:
            allocated = uuid in self._allocated
            self._allocated.discard(uuid)
        local = self._steps.exists_locally(uuid)
        if not local and not allocated:
            return None
        if self._store.get(keys.assignment(self._host_uuid, uuid)) is not None:
            # The watch has not told yet; it will.
            return _SOON_S
        if self._store.get(keys.instance(uuid)) is not None:
            # Where it has but a claim here, it is about to be assigned: the scheduler claims first.
            if local:
                self._tell_kept(uuid)
            return None
        if not self._believes_absence():
            return None
        allocations = self._allocations(uuid)
        if local and self._steps.remove_locally(uuid):
            _LOG.warning("instance %s does not exist: its domain and files here were removed", uuid)
        if self._host_uuid in allocations.allocations and allocations.consumer_type == _CONSUMER_TYPE:
            self._steps.release_allocation(uuid)
            _LOG.warning("instance %s does not exist: its allocation on this host was released", uuid)
        with self._lock:
            self._kept.discard(uuid)
        return None

    def _tell_kept(self, uuid: str) -> None:
        with self._lock:
            first = uuid not in self._kept
            self._kept.add(uuid)
        if first:
            _LOG.warning(
                "instance %s exists, is not assigned to this host (%s), and has a domain or files here: they are kept; "
                "if this host's uuid was replaced, restore %s",
                uuid,
                self._host_uuid,
                self._paths.host_uuid,
            )

    def _believes_absence(self) -> bool:
        # One at a time: of two readings the older one, compared last, would look as if the store had gone back.
        with self._reading_store:
            cluster = self._store.get(keys.CLUSTER)
            revision = self._store.current_revision()
            known_by = None if cluster is None else cluster.value.decode("utf-8", "replace")
            return self._memory.believe(known_by, revision)

    def remember_store(self) -> None:
        """Compare the store with what is known, as each sweep does whether or not there is anything to remove."""
        self._believes_absence()

    def _allocations(self, uuid: str) -> Allocations:
        with placement_calls(self._placement_outage):
            return self._placement.get_allocations(uuid)
