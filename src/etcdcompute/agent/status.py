"""What the user sees: writes statuses, only if something changed, and never over a write it has not read."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from etcdcompute.errors import Conflict
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Item, Write
from etcdcompute.model import Address, DocumentError, InstanceStatus, Phase, keys
from etcdcompute.model.clock import timestamp

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent has to say about an instance; `observed_generation` 0 where it could not be read."""

    phase: Phase
    observed_generation: int
    addresses: tuple[Address, ...] = ()
    code: str = ""
    message: str = ""


class StatusWriter:
    """The statuses of one host's instances. Safe to use from any thread, one instance by one thread at a time."""

    def __init__(self, store: Client, *, host_uuid: str, host_name: str, now: Callable[[], str] = timestamp) -> None:
        self._store = store
        self._host_uuid = host_uuid
        self._host_name = host_name
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, Item] = {}

    def current(self, uuid: str) -> InstanceStatus | None:
        """Return the status as last read or written here; None where there is none, or none that parses."""
        with self._lock:
            item = self._known.get(uuid)
        if item is None:
            item = self._read(uuid)
        return _parse(item)

    def forget(self, uuid: str) -> None:
        """Drop what is remembered of an instance."""
        with self._lock:
            self._known.pop(uuid, None)

    def write(self, uuid: str, report: Report) -> bool:
        """Have the status say `report`; return whether it had to be written.

        The assignment must still be there, or a status would outlive the instance: if it is not, nothing is written.
        """
        assignment = keys.assignment(self._host_uuid, uuid)
        for _attempt in range(_ATTEMPTS):
            previous = self.current(uuid)
            status = self._compose(uuid, report, previous)
            if previous is not None and msgspec.structs.replace(status, updated_at=previous.updated_at) == previous:
                return False
            with self._lock:
                item = self._known.get(uuid)
            key = keys.instance_status(uuid)
            compare = Compare.absent(key) if item is None else Compare.unchanged(item)
            value = status.to_json()
            outcome = self._store.commit([compare, Compare.present(assignment)], [Write(key, value)])
            if isinstance(outcome, Committed):
                self._remember(uuid, Item(key, value, 0, outcome.revision, 0))
                failpoint("agent.status_written")
                return True
            self.forget(uuid)
            if self._store.get(assignment) is None:
                return False
        raise Conflict(f"the status of instance {uuid} is being written by somebody else all the time")

    def _compose(self, uuid: str, report: Report, previous: InstanceStatus | None) -> InstanceStatus:
        now = self._now()
        same_phase = previous is not None and previous.phase is report.phase
        return InstanceStatus(
            uuid=uuid,
            phase=report.phase,
            observed_generation=report.observed_generation,
            host=self._host_name,
            host_uuid=self._host_uuid,
            addresses=report.addresses,
            code=report.code,
            message=report.message,
            phase_since=previous.phase_since if previous is not None and same_phase else now,
            updated_at=now,
        )

    def _read(self, uuid: str) -> Item | None:
        item = self._store.get(keys.instance_status(uuid))
        if item is not None:
            self._remember(uuid, item)
        return item

    def _remember(self, uuid: str, item: Item) -> None:
        with self._lock:
            self._known[uuid] = item


def _parse(item: Item | None) -> InstanceStatus | None:
    if item is None:
        return None
    try:
        return InstanceStatus.from_json(item.value)
    except DocumentError as error:
        _LOG.warning("%s: will be written anew: %s", item.key, error)
        return None
