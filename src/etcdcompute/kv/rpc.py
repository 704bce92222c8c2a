"""etcd's gRPC methods: paths, how requests are encoded and answers decoded; and how keys become bytes.

gRPC's fork handlers and its own logging to stderr are switched off here: they are read when grpc is imported. Our
daemons never fork without exec, and every failure is reported as an error.

And who waits for a stream's next message sleeps until it comes. By itself gRPC looks ten times a second for each, so
that a main thread gets to its signals, which Python's locks have seen to since 3.2: a daemon with nothing to do woke
dozens of times a second, which on an emulated processor is felt.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from etcdcompute.kv.protocol import load_messages

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Not a part of gRPC's interface: where it is no more, watches cost more, and tests/functional/kv/test_watch.py says so.
with contextlib.suppress(ImportError):
    from grpc import _common

    _common.MAXIMUM_WAIT_TIMEOUT = 60.0

pb = load_messages()
"""Messages of etcd's services (RangeRequest, TxnRequest...)."""

EVENT_DELETE = 1
"""mvccpb.Event.DELETE."""


@dataclass(frozen=True, slots=True)
class Method:
    """One gRPC method: its path, and how requests are encoded and answers decoded."""

    path: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _method(path: str, request: Any, response: Any) -> Method:
    return Method(f"/etcdserverpb.{path}", request.SerializeToString, response.FromString)


RANGE = _method("KV/Range", pb.RangeRequest, pb.RangeResponse)
TXN = _method("KV/Txn", pb.TxnRequest, pb.TxnResponse)
AUTHENTICATE = _method("Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse)
STATUS = _method("Maintenance/Status", pb.StatusRequest, pb.StatusResponse)
LEASE_GRANT = _method("Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
LEASE_REVOKE = _method("Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse)

# A stream on the server's side, but a stream of one request and one answer looks like a plain call on the wire.
LEASE_KEEP_ALIVE = _method("Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse)

WATCH = _method("Watch/Watch", pb.WatchRequest, pb.WatchResponse)


def watch_create(key: bytes, range_end: bytes, start_revision: int) -> Any:
    """Return the request that opens a watch; events come in fragments of about the size of a request."""
    create = pb.WatchCreateRequest(
        key=key, range_end=range_end, start_revision=start_revision, progress_notify=True, fragment=True
    )
    return pb.WatchRequest(create_request=create)


def watch_progress() -> Any:
    """Return the request for a progress notification on an open watch."""
    return pb.WatchRequest(progress_request=pb.WatchProgressRequest())


def encode_key(key: str) -> bytes:
    """Return a key as etcd has it; keys that are not UTF-8 survive the way there and back."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(key: bytes) -> str:
    """Return etcd's key as text."""
    return key.decode("utf-8", "surrogateescape")


def range_end(prefix: bytes) -> bytes:
    """Return the key behind the last one that begins with `prefix`, in etcd's notation (b"\\0" is the very end)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes([stripped[-1] + 1])
