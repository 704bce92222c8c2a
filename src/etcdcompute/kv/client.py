"""The client everybody uses. See `records` for the values and `etcdcompute.errors` for the errors."""

import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from etcdcompute.deadline import Deadline
from etcdcompute.kv import rpc
from etcdcompute.kv.connection import BegunRead, Connection, Credentials
from etcdcompute.kv.election import Election
from etcdcompute.kv.endpoint import Tls
from etcdcompute.kv.lease import Lease, grant
from etcdcompute.kv.listing import list_prefix
from etcdcompute.kv.records import Committed, Compare, Item, Listing, Operation, Rejected
from etcdcompute.kv.transactions import item, key_bytes, outcome, transaction
from etcdcompute.kv.watch import Watch
from etcdcompute.model.keys import CLUSTER

__all__ = ["Client", "Credentials", "Tls"]


class Client:
    """An etcd cluster. Safe to use from any thread; nothing is sent before the first call.

    `endpoints` are http(s)://HOST:PORT, any number of members of one cluster. A password goes over plain http to
    this machine only, unless `allow_plaintext_password`. Calls without a deadline get `request_timeout_s`. All reads
    are linearizable: they see every write that was answered before they began, through whichever member.

    Errors of all calls: Unavailable (no member answers, nothing was changed), AccessDenied, InvalidInput (etcd refuses
    the request), Stopped (the client is closed).
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        credentials: Credentials | None = None,
        tls: Tls | None = None,
        request_timeout_s: float = 5.0,
        allow_plaintext_password: bool = False,
    ) -> None:
        self._connection = Connection(
            endpoints,
            credentials=credentials,
            tls=tls,
            request_timeout_s=request_timeout_s,
            allow_plaintext_password=allow_plaintext_password,
        )

    def get(self, key: str, *, deadline: Deadline | None = None) -> Item | None:
        """Return the key, or None where there is none."""
        request = rpc.pb.RangeRequest(key=key_bytes(key))
        return _first(self._connection.read(rpc.RANGE, request, deadline or self._connection.deadline()))

    def begin_get(
        self, key: str, told: Callable[[], None], *, deadline: Deadline | None = None
    ) -> BegunRead[Item | None]:
        """Ask for a key, and go on; `told` is called, by any thread, when there is no more to wait for."""
        request = rpc.pb.RangeRequest(key=key_bytes(key))
        return self._connection.begin_read(rpc.RANGE, request, deadline or self._connection.deadline(), told, _first)

    def read_prefix(self, prefix: str, *, deadline: Deadline | None = None) -> Listing:
        """Return everything below `prefix` as it stood at one revision, however large it is.

        Without a deadline each page of about 1 MiB gets `request_timeout_s`.
        """
        return list_prefix(self._connection, prefix, deadline=deadline)

    def commit(
        self,
        compares: Iterable[Compare],
        operations: Iterable[Operation],
        *,
        deadline: Deadline | None = None,
    ) -> Committed | Rejected:
        """Carry out all operations as one revision if every compare holds, and none otherwise.

        Unavailable: nothing was changed. OutcomeUnknown: it may have been; read before trying again.
        RequestTooLarge: more than etcd's limits (by default 128 operations, 1.5 MiB); split it.
        LeaseLost: a Write names a lease that has expired.
        """
        request = transaction(compares, operations)
        return outcome(self._connection.write(rpc.TXN, request, deadline or self._connection.deadline()))

    def current_revision(self, *, deadline: Deadline | None = None) -> int:
        """Return the store's revision: at least that of every write that was answered before this call."""
        # Not an empty transaction: etcd answers those without asking the leader. The key is one that every user of
        # the project's prefix may read; that it may be absent does not matter.
        request = rpc.pb.RangeRequest(key=key_bytes(CLUSTER), count_only=True)
        response = self._connection.read(rpc.RANGE, request, deadline or self._connection.deadline())
        return int(response.header.revision)

    def watch(self, prefix: str, *, from_revision: int | None = None, stop: threading.Event | None = None) -> Watch:
        """Follow everything below `prefix`: see `Watch`."""
        return Watch(self._connection, prefix, from_revision=from_revision, stop=stop or threading.Event())

    def lease(self, ttl_s: int, *, on_lost: Callable[[], None], deadline: Deadline | None = None) -> Lease:
        """Take a lease and keep it alive until it is revoked, lost or the client closed: see `Lease`."""
        return grant(self._connection, ttl_s, on_lost=on_lost, deadline=deadline)

    def election(self, key: str, *, identity: str, ttl_s: int) -> Election:
        """Return the election for `key`, in which this process stands as `identity`: see `Election`."""
        return Election(self, self._connection.start_thread, key, identity=identity, ttl_s=ttl_s)

    def close(self) -> None:
        """End all calls, watches and leases' renewal, and join the threads. Leases are left to expire."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _first(response: Any) -> Item | None:
    return item(response.kvs[0]) if response.kvs else None
