"""Compute hosts as operators see and change them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from etcdcompute.errors import Conflict, InvalidInput, NotFound
from etcdcompute.kv.records import Committed, Compare, Item, Write
from etcdcompute.model import DocumentError, Host, keys

if TYPE_CHECKING:
    # Most commands ask placement nothing; its client's imports would be half of their time.
    from collections.abc import Mapping

    from etcdcompute.kv.client import Client
    from etcdcompute.placement.client import Inventory, PlacementClient

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Use:
    """One resource class of a host: `capacity` is what may be claimed in all, `total` what is really there."""

    used: int
    capacity: int
    total: int


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host with all that is known of it; `resources` is None as long as placement has not been asked.

    Exactly one of `host` and `error` is None: `error` says why the document does not parse.
    """

    uuid: str
    host: Host | None
    error: str | None
    alive: bool
    instances: int
    resources: Mapping[str, Use] | None = field(default=None)

    @property
    def name(self) -> str:
        """The name; the uuid where the document does not parse."""
        return self.host.name if self.host else self.uuid

    @property
    def state(self) -> str:
        """Return up or down, and cordoned where an operator keeps new instances off."""
        cordoned = self.host is not None and self.host.cordoned
        if not self.alive:
            return "down, cordoned" if cordoned else "down"
        return "cordoned" if cordoned else "up"

    @property
    def message(self) -> str:
        """What is wrong with the host; empty where nothing is."""
        return self.error or (self.host.message if self.host else "")

    def to_mapping(self) -> dict[str, object]:
        """Return everything as plain values."""
        resources = None
        if self.resources is not None:
            resources = {
                name: {"used": use.used, "capacity": use.capacity, "total": use.total}
                for name, use in self.resources.items()
            }
        return {
            "uuid": self.uuid,
            "name": self.name,
            "state": self.state,
            "alive": self.alive,
            "instances": self.instances,
            "resources": resources,
            "message": self.message,
            "host": self.host.to_mapping() if self.host else None,
        }


def list_hosts(store: Client) -> tuple[HostRow, ...]:
    """Return all hosts by name, without their resources."""
    items = store.read_prefix(keys.HOSTS).items
    alive = {keys.last_segment(item.key) for item in store.read_prefix(keys.ALIVE).items}
    assignments = store.read_prefix(keys.ASSIGNMENTS).items
    instances = Counter(keys.split_assignment(item.key)[0] for item in assignments)
    rows = [_row(item, alive, instances[keys.last_segment(item.key)]) for item in items]
    return tuple(sorted(rows, key=lambda row: row.name))


def find_host(store: Client, reference: str) -> HostRow:
    """Return the host with this name or uuid, without its resources; NotFound, or Conflict where two have the name."""
    return _choose([row for row in list_hosts(store) if reference in (row.uuid, row.name)], reference)


def fetch_resources(placement: PlacementClient, uuid: str) -> dict[str, Use]:
    """Return what the host's own provider has and what is claimed of it; empty where there is no provider."""
    try:
        inventories = placement.get_inventories(uuid).inventories
        usages = placement.get_usages(uuid).usages
    except NotFound:
        return {}
    return {
        name: Use(usages.get(name, 0), _compute_capacity(inventory), inventory.total)
        for name, inventory in inventories.items()
    }


def set_cordoned(store: Client, reference: str, *, cordoned: bool) -> tuple[Host, bool]:
    """Keep new instances off a host, or let them come again; return the host and whether that was a change."""
    for _ in range(_ATTEMPTS):
        row = find_host(store, reference)
        item = store.get(keys.host(row.uuid))
        if item is None:
            raise NotFound(f"there is no host {reference!r}")
        try:
            host = Host.from_json(item.value)
        except DocumentError as error:
            raise InvalidInput(f"host {row.uuid} cannot be changed: {error}; restart its agent") from error
        if host.cordoned is cordoned:
            return host, False
        changed = msgspec.structs.replace(host, cordoned=cordoned)
        if isinstance(store.commit([Compare.unchanged(item)], [Write(item.key, changed.to_json())]), Committed):
            return changed, True
    raise Conflict(f"host {reference!r} is being changed by others again and again: try again")


def _compute_capacity(inventory: Inventory) -> int:
    return max(0, int((inventory.total - inventory.reserved) * inventory.allocation_ratio))


def _choose(rows: list[HostRow], reference: str) -> HostRow:
    if not rows:
        raise NotFound(f"there is no host {reference!r}")
    if len(rows) > 1:
        uuids = ", ".join(row.uuid for row in rows)
        raise Conflict(f"{len(rows)} hosts are named {reference!r}; say which by its uuid: {uuids}")
    return rows[0]


def _row(item: Item, alive: set[str], instances: int) -> HostRow:
    uuid = keys.last_segment(item.key)
    try:
        return HostRow(uuid, Host.from_json(item.value), None, uuid in alive, instances)
    except DocumentError as error:
        return HostRow(uuid, None, str(error), uuid in alive, instances)
