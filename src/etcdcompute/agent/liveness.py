"""The key under a lease whose presence says that this host's agent lives."""

import json
import logging
import threading

from etcdcompute.agent.errors import HostTaken
from etcdcompute.errors import Conflict, EtcdComputeError
from etcdcompute.kv.client import Client
from etcdcompute.kv.lease import Lease
from etcdcompute.kv.records import Compare, Item, Rejected, Write
from etcdcompute.model import keys
from etcdcompute.model.clock import timestamp

_LOG = logging.getLogger(__name__)


class Liveness:
    """Keeps `/alive/<host>` there. Not safe for threads: one thread's alone, but `lost` may be waited for by any.

    `machine` tells this machine from others (name and address, for people to read): whoever finds another's in the key
    has been made from the same copy of a state directory, and two agents with one uuid would both run its instances.
    """

    def __init__(self, store: Client, host_uuid: str, *, machine: str, ttl_s: int, lost: threading.Event) -> None:
        self._store = store
        self._host_uuid = host_uuid
        self._key = keys.alive(host_uuid)
        self._machine = machine
        self._ttl_s = ttl_s
        self._lost = lost
        self._lease: Lease | None = None
        self._since = timestamp()

    def check_alone(self) -> None:
        """Raise HostTaken where another machine is this host."""
        self._check(self._store.get(self._key))

    def ensure(self) -> None:
        """Have the key there under a lease of this process; HostTaken, or Unavailable and the like."""
        item = self._store.get(self._key)
        self._check(item)
        lease = self._lease
        if lease is None or not lease.alive:
            lease = self._lease = self._store.lease(self._ttl_s, on_lost=self._lost.set)
        if item is not None and item.lease == lease.id:
            return
        # Another lease is of this machine's agent before it was killed: there is never more than one (`AgentLock`).
        value = json.dumps({"schema": 1, "since": self._since, "machine": self._machine}).encode()
        compare = Compare.absent(self._key) if item is None else Compare.unchanged(item)
        if isinstance(self._store.commit([compare], [Write(self._key, value, lease.id)]), Rejected):
            raise Conflict(f"{self._key} was written by somebody else")
        _LOG.info("this host is alive to others (lease of %d s)", self._ttl_s)

    def _check(self, item: Item | None) -> None:
        other = "" if item is None else _machine_of(item.value)
        if other not in ("", self._machine):
            raise HostTaken(
                f"another machine, {other}, is alive as host {self._host_uuid}: nothing is done here. If this machine "
                "was copied from that one, stop this agent, empty its state directory (agent.state_dir) and start it"
            )

    def end(self) -> None:
        """Let the key go at once, so that nothing new is placed here."""
        if self._lease is not None:
            try:
                self._lease.revoke()
            except EtcdComputeError as error:
                _LOG.info("the lease will expire by itself: %s", error)


def _machine_of(value: bytes) -> str:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    return str(document.get("machine", "")) if isinstance(document, dict) else ""
