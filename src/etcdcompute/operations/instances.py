"""Instances as clients see and change them."""

from dataclasses import dataclass

import msgspec

from etcdcompute.errors import AlreadyExists, Conflict, InvalidInput, NotFound, OutcomeUnknown
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Item, Operation, Remove, Write
from etcdcompute.model import DocumentError, Instance, InstanceStatus, Phase, PowerState, keys
from etcdcompute.model.stored import is_uuid, parse_instance
from etcdcompute.operations.tombstone import compute_tombstone, find_names

# A write that somebody else's came before is decided anew this often; more means that two programs fight.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance with all that is known of it.

    `key` is what its key ends in: its uuid, unless somebody wrote there what does not belong there. Exactly one of
    `instance` and `error` is None. `host_alive` is None as long as there is no host.
    """

    key: str
    instance: Instance | None
    error: str | None
    status: InstanceStatus | None
    host_alive: bool | None

    @property
    def name(self) -> str:
        """The name; the key where the document does not parse."""
        return self.instance.name if self.instance else self.key

    @property
    def state(self) -> str:
        """One word: the phase, "deleting" once marked, "requested" as long as nobody has looked at it, or "error"."""
        if self.instance is None:
            return str(Phase.ERROR)
        if self.instance.deleted:
            return str(Phase.DELETING)
        return str(self.status.phase) if self.status else "requested"

    @property
    def message(self) -> str:
        """What there is to say about the state; empty where all is well."""
        return self.error or (self.status.message if self.status else "")

    def to_mapping(self) -> dict[str, object]:
        """Return everything as plain values."""
        return {
            "uuid": self.key,
            "name": self.name,
            "state": self.state,
            "host": self.status.host if self.status else "",
            "host_alive": self.host_alive,
            "addresses": [each.ip for each in self.status.addresses] if self.status else [],
            "message": self.message,
            "instance": self.instance.to_mapping() if self.instance else None,
            "status": self.status.to_mapping() if self.status else None,
        }


def list_instances(store: Client) -> tuple[InstanceRow, ...]:
    """Return all instances by name, those that do not parse included."""
    items = store.read_prefix(keys.INSTANCES).items
    statuses = {item.key: item for item in store.read_prefix(keys.INSTANCE_STATUSES).items}
    alive = {keys.last_segment(item.key) for item in store.read_prefix(keys.ALIVE).items}
    rows = []
    for item in items:
        stored = statuses.get(keys.instance_status(keys.instance_id(item.key)))
        status = InstanceStatus.from_json_or_none(stored.value if stored else None)
        host_alive = status.host_uuid in alive if status and status.host_uuid else None
        rows.append(_row(item, status, host_alive))
    return tuple(sorted(rows, key=lambda row: row.name))


def find_instance(store: Client, reference: str) -> InstanceRow:
    """Return the instance with this name or uuid; NotFound where there is none."""
    item = _fetch(store, reference)
    if item is None:
        raise NotFound(f"there is no instance {reference!r}")
    stored = store.get(keys.instance_status(keys.instance_id(item.key)))
    status = InstanceStatus.from_json_or_none(stored.value if stored else None)
    host_alive = store.get(keys.alive(status.host_uuid)) is not None if status and status.host_uuid else None
    return _row(item, status, host_alive)


def create_instance(store: Client, instance: Instance) -> int:
    """Write the instance and reserve its name; return the revision. AlreadyExists names who has the name."""
    write = [
        Write(keys.instance(instance.uuid), instance.to_json()),
        Write(keys.instance_name(instance.name), instance.uuid.encode()),
    ]
    compares = [Compare.absent(keys.instance(instance.uuid)), Compare.absent(keys.instance_name(instance.name))]
    for _ in range(_ATTEMPTS):
        try:
            result = store.commit(compares, write)
        except OutcomeUnknown:
            item = store.get(keys.instance(instance.uuid))
            if item is not None and item.value == instance.to_json():
                return item.mod_revision
            raise
        if isinstance(result, Committed):
            return result.revision
        compares = [Compare.absent(keys.instance(instance.uuid)), _make_name_free(store, instance)]
    raise _fought_over(instance.name)


def set_power_state(store: Client, reference: str, power_state: PowerState) -> tuple[Instance, bool]:
    """Ask for a power state; return the instance as it then is, and whether that was a change."""
    for _ in range(_ATTEMPTS):
        item = _fetch(store, reference)
        if item is None:
            raise NotFound(f"there is no instance {reference!r}")
        try:
            instance = parse_instance(keys.instance_id(item.key), item.value)
        except DocumentError as error:
            raise InvalidInput(f"instance {reference!r} cannot be changed, only deleted: {error}") from error
        if instance.deleted:
            raise Conflict(f"instance {instance.name} is being deleted")
        if instance.power_state is power_state:
            return instance, False
        changed = msgspec.structs.replace(instance, power_state=power_state, generation=instance.generation + 1)
        if _replace(store, item, changed):
            return changed, True
    raise _fought_over(reference)


def delete_instance(store: Client, reference: str) -> str | None:
    """Mark the instance as deleted; return what its key ends in, or None where there is no such instance.

    One that is marked already is success. One whose document does not parse is replaced by a tombstone.
    """
    for _ in range(_ATTEMPTS):
        item = _fetch(store, reference)
        if item is None:
            return None
        key = keys.instance_id(item.key)
        if not is_uuid(key):
            # No host ever got it, so there is nothing to take down.
            if _remove_misplaced(store, item, key):
                return key
            continue
        try:
            instance = parse_instance(key, item.value)
        except DocumentError:
            marked = compute_tombstone(store, key, item)
        else:
            if instance.deleted:
                return key
            marked = msgspec.structs.replace(instance, deleted=True, generation=instance.generation + 1)
        if _replace(store, item, marked):
            return key
    raise _fought_over(reference)


def _fetch(store: Client, reference: str) -> Item | None:
    """Return the item of the instance with this uuid or name."""
    if not reference:
        return None
    if is_uuid(reference) and (item := store.get(keys.instance(reference))):
        return item
    name = store.get(keys.instance_name(reference))
    if name is not None:
        return store.get(keys.instance(name.value.decode(errors="replace")))
    return None if is_uuid(reference) else store.get(keys.instance(reference))


def _row(item: Item, status: InstanceStatus | None, host_alive: bool | None) -> InstanceRow:
    key = keys.instance_id(item.key)
    try:
        return InstanceRow(key, parse_instance(key, item.value), None, status, host_alive)
    except DocumentError as error:
        return InstanceRow(key, None, str(error), status, host_alive)


def _make_name_free(store: Client, instance: Instance) -> Compare:
    """Return what makes taking the name safe; AlreadyExists where it is taken."""
    name = store.get(keys.instance_name(instance.name))
    if name is None:
        if store.get(keys.instance(instance.uuid)) is not None:
            raise AlreadyExists(f"there is an instance with uuid {instance.uuid} already")
        return Compare.absent(keys.instance_name(instance.name))
    owner = name.value.decode(errors="replace")
    item = store.get(keys.instance(owner))
    if item is None:
        # Left behind by somebody who removed an instance by hand: the name is free.
        return Compare.unchanged(name)
    try:
        going = Instance.from_json(item.value).deleted
    except DocumentError:
        going = False
    hint = "it is being deleted: wait until it is gone" if going else "choose another name, or delete it first"
    raise AlreadyExists(f"there is an instance named {instance.name} already (uuid {owner}); {hint}")


def _replace(store: Client, item: Item, instance: Instance) -> bool:
    """Write the instance in place of `item`; False where somebody else's write came first."""
    value = instance.to_json()
    try:
        return isinstance(store.commit([Compare.unchanged(item)], [Write(item.key, value)]), Committed)
    except OutcomeUnknown:
        found = store.get(item.key)
        if found is not None and found.value == value:
            return True
        raise


def _remove_misplaced(store: Client, item: Item, key: str) -> bool:
    """Remove an instance whose key is no uuid, with its status and names."""
    compares = [Compare.unchanged(item)]
    operations: list[Operation] = [Remove(item.key), Remove(keys.instance_status(key))]
    for name in find_names(store, key):
        compares.append(Compare.unchanged(name))
        operations.append(Remove(name.key))
    return isinstance(store.commit(compares, operations), Committed)


def _fought_over(reference: str) -> Conflict:
    return Conflict(f"instance {reference!r} is being changed by others again and again: try again")
