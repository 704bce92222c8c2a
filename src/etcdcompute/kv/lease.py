"""Leases: what is written under one lives as long as its owner keeps renewing it.

Whether a lease still stands is judged by the owner's own clock, never by etcd's word alone: from the moment the last
successful renewal was *sent*, its time to live has to cover everything. The clock is one that goes on while the
machine is suspended.
"""

import logging
import threading
import time
from collections.abc import Callable

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, InvalidInput, Stopped
from etcdcompute.kv import rpc
from etcdcompute.kv.connection import Connection
from etcdcompute.kv.errors import LeaseLost

log = logging.getLogger(__name__)

_RENEWALS_PER_TTL = 3
_RETRY_S = 0.2


def suspend_aware_clock() -> float:
    """Return seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A lease that a thread keeps alive. `on_lost` is called once, from that thread, when it is lost for good:

    etcd does not know it any more, or it was not renewed in time. It is not called after `revoke` or when the client
    is closed (then the lease expires by itself).
    """

    def __init__(
        self,
        connection: Connection,
        lease_id: int,
        ttl_s: int,
        *,
        expires_at: float,
        on_lost: Callable[[], None],
        clock: Callable[[], float] = suspend_aware_clock,
    ) -> None:
        self.id = lease_id
        self.ttl_s = ttl_s
        self._connection = connection
        self._expires_at = expires_at
        self._on_lost = on_lost
        self._clock = clock
        self._ended = threading.Event()
        self._thread = connection.start_thread(f"kv-lease-{lease_id:x}", self._keep_alive)

    @property
    def alive(self) -> bool:
        """Whether the lease surely still stands."""
        return not self._ended.is_set() and self._clock() < self._expires_at

    def revoke(self, *, deadline: Deadline | None = None) -> None:
        """Stop renewing and end the lease at once: its keys go. An etcd that cannot be reached lets it expire."""
        self._ended.set()
        request = rpc.pb.LeaseRevokeRequest(ID=self.id)
        try:
            self._connection.read(rpc.LEASE_REVOKE, request, deadline or self._connection.deadline())
        except LeaseLost:
            log.debug("lease %x had expired before it was revoked", self.id)
        except (EtcdComputeError, Stopped) as error:
            log.info("lease %x could not be revoked and will expire within %d s: %s", self.id, self.ttl_s, error)

    def _keep_alive(self) -> None:
        pause_s = self.ttl_s / _RENEWALS_PER_TTL
        while not self._wait(pause_s):
            try:
                self._renew()
                pause_s = self.ttl_s / _RENEWALS_PER_TTL
            except LeaseLost as error:
                self._lose(str(error))
                return
            except Stopped:
                return
            except EtcdComputeError as error:
                log.debug("lease %x not renewed yet: %s", self.id, error)
                pause_s = _RETRY_S
            if self._clock() >= self._expires_at:
                self._lose("it was not renewed in time")
                return

    def _wait(self, pause_s: float) -> bool:
        """Wait, at most until the lease expires; tell whether to end."""
        until = min(self._clock() + pause_s, self._expires_at)
        while not self._connection.closed.is_set():
            remaining_s = until - self._clock()
            if remaining_s <= 0:
                return self._ended.is_set()
            # In slices: an Event's clock stands still while the machine is suspended, and `close` sets another one.
            if self._ended.wait(min(remaining_s, 0.5)):
                return True
        return True

    def _renew(self) -> None:
        sent_at = self._clock()
        remaining_s = self._expires_at - sent_at
        if remaining_s <= 0:
            return
        deadline = Deadline.after(remaining_s)
        request = rpc.pb.LeaseKeepAliveRequest(ID=self.id)
        response = self._connection.read(rpc.LEASE_KEEP_ALIVE, request, deadline, self._ended)
        if response.TTL <= 0:
            raise LeaseLost("etcd does not know it any more")
        self._expires_at = sent_at + response.TTL

    def _lose(self, why: str) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        log.warning("lease %x is lost: %s", self.id, why)
        self._on_lost()


def grant(
    connection: Connection, ttl_s: int, *, on_lost: Callable[[], None], deadline: Deadline | None = None
) -> Lease:
    """Take a new lease from etcd and start keeping it alive."""
    if ttl_s < 1:
        raise InvalidInput(f"etcd: a lease needs a time to live of at least 1 s, not {ttl_s}")
    request = rpc.pb.LeaseGrantRequest(TTL=ttl_s)
    sent_at = suspend_aware_clock()
    # A grant whose answer was lost leaves a lease that nobody renews, so repeating it does no harm.
    response = connection.read(rpc.LEASE_GRANT, request, deadline or connection.deadline())
    # sent_at is that of the first attempt: too early is the safe side.
    return Lease(connection, int(response.ID), int(response.TTL), expires_at=sent_at + response.TTL, on_lost=on_lost)
