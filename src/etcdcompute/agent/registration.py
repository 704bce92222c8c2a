"""Keeps this host known: its document in etcd, its provider in placement with inventories and traits.

Everything is compared before it is written, so that a registration that finds all as it should be writes nothing.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from etcdcompute import __version__
from etcdcompute.agent.errors import LibvirtUnavailable
from etcdcompute.agent.hypervisor import Hypervisor, HypervisorVersions
from etcdcompute.agent.machine import Machine, kernel_release
from etcdcompute.agent.outage import Outage, placement_calls
from etcdcompute.agent.traits import (
    compute_inventories,
    compute_traits,
    custom_trait,
    merge_inventories,
    merge_traits,
)
from etcdcompute.config import AgentSettings
from etcdcompute.errors import Conflict
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Item, Write
from etcdcompute.model import DocumentError, Host, HostCapabilities, HostVersions, keys
from etcdcompute.model.clock import timestamp
from etcdcompute.placement.client import Inventory, PlacementClient

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not change while an agent runs."""

    uuid: str
    name: str
    address: str
    arch: str
    virt_type: str
    virt_reason: str
    cpu_flags: frozenset[str]


class Registration:
    """Registers one host, as often as it is told to. Not safe for threads: one thread's alone.

    `read_machine` returns what the machine has now, `read_trouble` what is wrong with the host, "" where nothing is.
    """

    def __init__(
        self,
        *,
        facts: HostFacts,
        settings: AgentSettings,
        store: Client,
        placement: PlacementClient,
        placement_outage: Outage,
        hypervisor: Hypervisor,
        read_machine: Callable[[], Machine],
        read_trouble: Callable[[], str],
    ) -> None:
        self._facts = facts
        self._settings = settings
        self._store = store
        self._placement = placement
        self._placement_outage = placement_outage
        self._hypervisor = hypervisor
        self._read_machine = read_machine
        self._read_trouble = read_trouble
        self._versions = HypervisorVersions()
        self.registered = threading.Event()

    def register(self) -> None:
        """Bring document and provider up to date; `registered` is set once both were. Raises what stood in the way."""
        message = self._read_trouble()
        libvirt_down = False
        try:
            self._versions = self._hypervisor.versions()
        except LibvirtUnavailable as error:
            libvirt_down = True
            message = message or f"no instance can be started or stopped: {error}"
        cordoned = self._write_document(message)
        with placement_calls(self._placement_outage):
            self._update_provider(disabled=cordoned or libvirt_down)
        if not self.registered.is_set():
            _LOG.info(
                "host %s (%s) is registered: %s guests (%s)",
                self._facts.name,
                self._facts.uuid,
                self._facts.virt_type,
                self._facts.virt_reason,
            )
        self.registered.set()

    def _write_document(self, message: str) -> bool:
        """Write the host's document if it is not as it should be; return whether the host is cordoned."""
        key = keys.host(self._facts.uuid)
        for _attempt in range(_ATTEMPTS):
            item = self._store.get(key)
            previous, cordoned = _parse(item)
            now = timestamp()
            host = self._describe(message, cordoned=cordoned, registered_at=previous.registered_at if previous else now)
            if previous is not None and msgspec.structs.replace(host, updated_at=previous.updated_at) == previous:
                return cordoned
            compare = Compare.absent(key) if item is None else Compare.unchanged(item)
            if isinstance(self._store.commit([compare], [Write(key, host.to_json())]), Committed):
                failpoint("agent.host_written")
                return cordoned
        raise Conflict(f"{key} is being written by somebody else all the time")

    def _describe(self, message: str, *, cordoned: bool, registered_at: str) -> Host:
        facts = self._facts
        return Host(
            uuid=facts.uuid,
            name=facts.name,
            address=facts.address,
            versions=HostVersions(
                etcdcompute=__version__,
                libvirt=self._versions.libvirt,
                qemu=self._versions.qemu,
                kernel=kernel_release(),
            ),
            capabilities=HostCapabilities(arch=facts.arch, virt_type=facts.virt_type, virt_reason=facts.virt_reason),
            cordoned=cordoned,
            message=message,
            registered_at=registered_at,
            updated_at=timestamp(),
        )

    def _update_provider(self, *, disabled: bool) -> None:
        facts = self._facts
        placement = self._placement
        placement.ensure_resource_provider(facts.uuid, facts.name, keep_parent=True)
        failpoint("agent.provider_created")
        own = compute_inventories(
            self._read_machine(),
            reserved=self._settings.reserved,
            allocation_ratios=self._settings.allocation_ratios,
        )
        present = placement.get_inventories(facts.uuid)
        inventories = merge_inventories(present.inventories, own)
        if inventories != present.inventories:
            placement.set_inventories(facts.uuid, inventories, present.generation)
            _LOG.info("inventories of host %s: %s", facts.name, _sentence(own))
            failpoint("agent.inventories_set")
        wanted = compute_traits(
            arch=facts.arch, virt_type=facts.virt_type, cpu_flags=facts.cpu_flags, disabled=disabled
        )
        found = placement.get_traits(facts.uuid)
        traits = merge_traits(found.traits, wanted)
        if traits != found.traits:
            placement.create_trait(custom_trait(facts.virt_type))
            placement.set_traits(facts.uuid, traits, found.generation)
            failpoint("agent.traits_set")


def _parse(item: Item | None) -> tuple[Host | None, bool]:
    """Return the document, None where it is absent or does not parse, and whether the host is cordoned."""
    if item is None:
        return None, False
    try:
        host = Host.from_json(item.value)
    except DocumentError as error:
        # It is ours to write anew, but an operator's cordon must not get lost on the way.
        _LOG.warning("%s: will be written anew: %s", item.key, error)
        compact = b"".join(item.value.split())
        return None, b'"cordoned":true' in compact
    return host, host.cordoned


def _sentence(inventories: Mapping[str, Inventory]) -> str:
    return ", ".join(f"{name} {each.total} ({each.reserved} reserved)" for name, each in inventories.items())
