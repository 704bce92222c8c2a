"""The key under a lease whose presence says that this host's agent lives."""

import json
import logging
import threading

from etcdcompute.errors import EtcdComputeError
from etcdcompute.kv.client import Client
from etcdcompute.kv.lease import Lease
from etcdcompute.kv.records import Write
from etcdcompute.model import keys
from etcdcompute.model.clock import timestamp

_LOG = logging.getLogger(__name__)


class Liveness:
    """Keeps `/alive/<host>` there. Not safe for threads: one thread's alone, but `lost` may be waited for by any."""

    def __init__(self, store: Client, host_uuid: str, *, ttl_s: int, lost: threading.Event) -> None:
        self._store = store
        self._key = keys.alive(host_uuid)
        self._ttl_s = ttl_s
        self._lost = lost
        self._lease: Lease | None = None
        self._since = timestamp()

    def ensure(self) -> None:
        """Have the key there under a lease of this process; raises Unavailable and the like."""
        lease = self._lease
        if lease is None or not lease.alive:
            lease = self._lease = self._store.lease(self._ttl_s, on_lost=self._lost.set)
        item = self._store.get(self._key)
        if item is not None and item.lease == lease.id:
            return
        # Another lease is that of this host's agent before it was killed: there is never more than one (`AgentLock`).
        value = json.dumps({"schema": 1, "since": self._since}).encode()
        self._store.commit([], [Write(self._key, value, lease.id)])
        _LOG.info("this host is alive to others (lease of %d s)", self._ttl_s)

    def end(self) -> None:
        """Let the key go at once, so that nothing new is placed here."""
        if self._lease is not None:
            try:
                self._lease.revoke()
            except EtcdComputeError as error:
                _LOG.info("the lease will expire by itself: %s", error)
