"""What the scheduler knows: a small picture of instances, assignments and hosts, kept true by watches.

Four watches feed it, each at its own pace, so two parts of the picture may be of different moments. What makes that
safe is one rule: the picture of *assignments* is never behind this scheduler's own decisions. It is read after the
leadership was won (so everything former leaders did is in it), and what this leader assigns is entered when it is
committed, not when the watch tells. Instances may be behind: every step that depends on one reads it again or
compares it in its transaction.

The view keeps no documents, only what decisions need, so that it stays small with many instances.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from etcdcompute.kv.records import DeleteEvent, Item, Progress, PutEvent, Snapshot, WatchEvent
from etcdcompute.model import Assignment, DocumentError, Host, keys
from etcdcompute.model.stored import parse_instance


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """What matters of an instance's document; `error` is None, or says why it does not parse."""

    revision: int
    generation: int
    deleted: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AssignmentRecord:
    """An assignment's generation; 0 where its document does not parse, so that it is written anew."""

    revision: int
    generation: int


@dataclass(frozen=True, slots=True)
class HostRecord:
    """What matters of a host."""

    name: str
    cordoned: bool


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts at one moment."""

    known: Mapping[str, HostRecord]
    alive: frozenset[str]

    def takes_instances(self, uuid: str) -> bool:
        """Whether new instances may go there."""
        record = self.known.get(uuid)
        return record is not None and not record.cordoned and uuid in self.alive


@dataclass(frozen=True, slots=True)
class Change:
    """What an event means for the work to be done."""

    instances: frozenset[str] = frozenset()
    capacity: bool = False  # something may fit now that did not before


_NOTHING = Change()


class View:
    """The picture; shared by watchers and workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[str, InstanceRecord] = {}
        self._assignments: dict[str, dict[str, AssignmentRecord]] = {}  # instance -> host -> record
        self._hosts: dict[str, HostRecord] = {}
        self._alive: set[str] = set()
        self._assignments_revision = 0  # all that happened up to it is in _assignments
        self._reported: dict[str, int] = {}  # instance -> revision of the document that was reported as invalid

    # Reading

    def get_instance(self, uuid: str) -> tuple[InstanceRecord | None, Mapping[str, AssignmentRecord], int]:
        """Return the instance, its assignments by host, and which revision of it was reported as invalid (0: none)."""
        with self._lock:
            return (
                self._instances.get(uuid),
                dict(self._assignments.get(uuid, {})),
                self._reported.get(uuid, 0),
            )

    def get_hosts(self) -> Hosts:
        """Return the hosts as they stand."""
        with self._lock:
            return Hosts(dict(self._hosts), frozenset(self._alive))

    def get_instances(self) -> tuple[str, ...]:
        """Return the uuids of all instances."""
        with self._lock:
            return tuple(self._instances)

    def get_unassigned(self) -> tuple[str, ...]:
        """Return the uuids of the instances that have no host."""
        with self._lock:
            return tuple(uuid for uuid in self._instances if uuid not in self._assignments)

    # Our own doing

    def note_assignment(self, host: str, uuid: str, record: AssignmentRecord) -> None:
        """Enter an assignment that was committed or read, unless the watch knows better already."""
        with self._lock:
            if record.revision > self._assignments_revision:
                self._assignments.setdefault(uuid, {})[host] = record

    def note_reported(self, uuid: str, revision: int) -> None:
        """Remember that the document of this revision was reported as invalid."""
        with self._lock:
            self._reported[uuid] = revision

    # Events

    def apply(self, prefix: str, event: WatchEvent) -> Change:
        """Enter an event of the watch on `prefix`; return what there is to do about it."""
        with self._lock:
            match event:
                case Snapshot():
                    return self._replace(prefix, event)
                case PutEvent():
                    change = self._put(prefix, event.item)
                case DeleteEvent():
                    change = self._delete(prefix, event)
                case Progress():
                    change = _NOTHING
            if prefix == keys.ASSIGNMENTS:
                self._assignments_revision = max(self._assignments_revision, event.revision)
            return change

    def _replace(self, prefix: str, snapshot: Snapshot) -> Change:
        before = self._forget(prefix, snapshot.revision)
        for item in snapshot.items:
            self._put(prefix, item)
        if prefix == keys.ASSIGNMENTS:
            self._assignments_revision = max(self._assignments_revision, snapshot.revision)
        if prefix in (keys.INSTANCES, keys.ASSIGNMENTS):
            return Change(before | frozenset(self._instances), capacity=True)
        return Change(capacity=True)

    def _forget(self, prefix: str, revision: int) -> frozenset[str]:
        """Drop what was known up to `revision`; return the instances that this is about."""
        if prefix == keys.INSTANCES:
            about = frozenset(self._instances)
            self._instances.clear()
        elif prefix == keys.ASSIGNMENTS:
            about = frozenset(self._assignments)
            newer = {
                uuid: {host: record for host, record in records.items() if record.revision > revision}
                for uuid, records in self._assignments.items()
            }
            self._assignments = {uuid: records for uuid, records in newer.items() if records}
        elif prefix == keys.HOSTS:
            about = frozenset()
            self._hosts.clear()
        else:
            about = frozenset()
            self._alive.clear()
        return about

    def _put(self, prefix: str, item: Item) -> Change:
        name = item.key.removeprefix(prefix)
        if prefix == keys.INSTANCES:
            self._instances[name] = _read_instance(name, item)
            return Change(frozenset({name}))
        if prefix == keys.ASSIGNMENTS:
            host, uuid = keys.split_assignment(item.key)
            known = self._assignments.setdefault(uuid, {})
            if host not in known or known[host].revision < item.mod_revision:
                known[host] = AssignmentRecord(item.mod_revision, read_generation(item))
            return Change(frozenset({uuid}))
        if prefix == keys.HOSTS:
            before = self._hosts.get(name)
            record = _read_host(item)
            if record is None:
                self._hosts.pop(name, None)
                return _NOTHING
            self._hosts[name] = record
            # Agents refresh their documents; only a new or uncordoned host is news.
            return Change(capacity=before is None or (before.cordoned and not record.cordoned))
        self._alive.add(name)
        return Change(capacity=True)

    def _delete(self, prefix: str, event: DeleteEvent) -> Change:
        name = event.key.removeprefix(prefix)
        if prefix == keys.INSTANCES:
            self._instances.pop(name, None)
            self._reported.pop(name, None)
            return Change(frozenset({name}), capacity=True)
        if prefix == keys.ASSIGNMENTS:
            host, uuid = keys.split_assignment(event.key)
            known = self._assignments.get(uuid, {})
            if host in known and known[host].revision < event.revision:
                del known[host]
            if not known:
                self._assignments.pop(uuid, None)
            return Change(frozenset({uuid}), capacity=True)
        if prefix == keys.HOSTS:
            self._hosts.pop(name, None)
        else:
            self._alive.discard(name)
        return _NOTHING


def _read_instance(name: str, item: Item) -> InstanceRecord:
    try:
        instance = parse_instance(name, item.value)
    except DocumentError as error:
        return InstanceRecord(item.mod_revision, 0, deleted=False, error=str(error))
    return InstanceRecord(item.mod_revision, instance.generation, instance.deleted)


def read_generation(item: Item) -> int:
    """Return the generation that an assignment orders; 0 where its document does not parse."""
    try:
        return Assignment.from_json(item.value).generation
    except DocumentError:
        return 0


def _read_host(item: Item) -> HostRecord | None:
    """A host whose document does not parse gets no instances; its agent writes it anew, or an operator sees it."""
    try:
        host = Host.from_json(item.value)
    except DocumentError:
        return None
    return HostRecord(host.name, host.cordoned)
