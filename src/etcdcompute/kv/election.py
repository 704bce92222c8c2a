"""One leader among several processes, and a guard that keeps earlier leaders from writing.

The key is created under the leader's lease, by a transaction that demands its absence. Whoever finds it taken watches
until it is gone. Clocks and networks being what they are, two processes may *believe* to lead for a moment; that is
harmless as long as every transaction of a leader carries its `guard`, which holds for the present leader only.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from etcdcompute.errors import EtcdComputeError, InvalidInput, OutcomeUnknown, Stopped
from etcdcompute.kv.lease import Lease
from etcdcompute.kv.records import (
    Committed,
    Compare,
    DeleteEvent,
    Item,
    Progress,
    PutEvent,
    Snapshot,
    WatchEvent,
    Write,
)

if TYPE_CHECKING:
    from etcdcompute.kv.client import Client

log = logging.getLogger(__name__)

_RETRY_S = 0.5

StartThread = Callable[[str, Callable[[], None]], threading.Thread]


class Leadership:
    """Having been elected.

    `guard` goes into every transaction of the leader. `lost` is set as soon as somebody else may have been elected:
    the lease may have expired by this machine's clock, etcd says that it has, or somebody removed the key.
    """

    def __init__(
        self, client: "Client", start_thread: StartThread, lease: Lease, item: Item, lost: threading.Event
    ) -> None:
        self.guard = Compare.unchanged(item)
        self.lost = lost
        self._client = client
        self._lease = lease
        self._item = item
        start_thread(f"kv-leader-{item.key}", self._watch_key)

    @property
    def alive(self) -> bool:
        """Whether this is surely still the leader, by the clock at this moment."""
        return not self.lost.is_set() and self._lease.alive

    def resign(self) -> None:
        """Make way at once: the key goes, and `lost` is set."""
        self.lost.set()
        self._lease.revoke()

    def _watch_key(self) -> None:
        key, revision = self._item.key, self._item.mod_revision
        try:
            for event in self._client.watch(key, from_revision=revision, stop=self.lost):
                if not _still_holds(event, self._item):
                    log.warning("leadership of %s is lost: its key was changed or removed", key)
                    self.lost.set()
        except EtcdComputeError as error:
            log.warning("the key %s cannot be watched, so only its lease tells who leads: %s", key, error)


class Election:
    """The election for one key. The key's value is the leader's identity, for people to read."""

    def __init__(self, client: "Client", start_thread: StartThread, key: str, *, identity: str, ttl_s: int) -> None:
        if ttl_s < 2:
            raise InvalidInput(f"etcd: an election needs a ttl_s of at least 2, not {ttl_s}")
        self._client = client
        self._start_thread = start_thread
        self._key = key
        self._identity = identity
        self._ttl_s = ttl_s

    def campaign(self, stop: threading.Event) -> Leadership | None:
        """Wait until elected; None when told to stop before. Waits out an etcd that does not answer."""
        while not stop.is_set():
            try:
                if self._wait_until_vacant(stop) and (leadership := self._try_once()):
                    log.info("%s leads %s", self._identity, self._key)
                    return leadership
            except Stopped:
                return None
            except EtcdComputeError as error:
                if not error.retryable:
                    raise
                log.warning("election for %s: %s", self._key, error)
                stop.wait(_RETRY_S)
        return None

    def leader(self) -> str | None:
        """Return the identity of the present leader, None where there is none."""
        item = self._client.get(self._key)
        return item.value.decode(errors="replace") if item else None

    def _wait_until_vacant(self, stop: threading.Event) -> bool:
        with self._client.watch(self._key, stop=stop) as events:
            for event in events:
                match event:
                    case Snapshot(items=items) if all(item.key != self._key for item in items):
                        return True
                    case DeleteEvent(key=self._key):
                        return True
                    case _:
                        pass
        return False

    def _try_once(self) -> Leadership | None:
        lost = threading.Event()
        lease = self._client.lease(self._ttl_s, on_lost=lost.set)
        elected = False
        try:
            item = self._create(lease)
            elected = item is not None
        finally:
            if not elected:
                # Should a transaction with unknown outcome still be under way, etcd refuses it for its dead lease.
                lease.revoke()
        return Leadership(self._client, self._start_thread, lease, item, lost) if item else None

    def _create(self, lease: Lease) -> Item | None:
        """Create the key under the lease; None if somebody else was faster."""
        value = self._identity.encode()
        try:
            outcome = self._client.commit([Compare.absent(self._key)], [Write(self._key, value, lease.id)])
        except OutcomeUnknown:
            item = self._client.get(self._key)
            return item if item is not None and item.lease == lease.id else None
        if not isinstance(outcome, Committed):
            return None
        return Item(self._key, value, outcome.revision, outcome.revision, 1, lease.id)


def _still_holds(event: WatchEvent, item: Item) -> bool:
    match event:
        case Snapshot(items=items):
            return any(found.key == item.key and found.mod_revision == item.mod_revision for found in items)
        case PutEvent(item=written):
            return written.key != item.key
        case DeleteEvent(key=key):
            return key != item.key
        case Progress():
            return True
