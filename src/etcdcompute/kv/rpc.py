"""etcd's gRPC methods and messages: the only module that imports the generated stubs, grpc's channel aside.

The stubs are those of PyPI's `etcd3` 0.12.0, generated in 2020. They fail to import on protobuf's C implementations
("Descriptors cannot be created directly"), so protobuf's Python one is chosen here, before anything in the process
imports protobuf; pinning protobuf to 3.20 would be the other way, and would pin known vulnerabilities. It decodes
about 90,000 keys a second, which is not what limits anybody. This can go when the stubs are generated anew.

gRPC's fork handlers and its own logging to stderr are switched off for the same reason and in the same place: they
are read when grpc is imported. Our daemons never fork without exec, and every failure is reported as an error.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

with warnings.catch_warnings():
    # The stubs' way of making descriptors is deprecated; see above.
    warnings.simplefilter("ignore", DeprecationWarning)
    from google.protobuf.internal import api_implementation

    if api_implementation.Type() != "python":
        raise ImportError(
            "something imported protobuf before etcdcompute.kv: import etcdcompute.kv first, or set "
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python in the environment"
        )
    from etcd3.etcdrpc import kv_pb2, rpc_pb2

from google.protobuf.unknown_fields import UnknownFieldSet

pb: Any = rpc_pb2
"""Messages of etcd's services (RangeRequest, TxnRequest...), untyped as they are generated."""

kv_pb: Any = kv_pb2
"""Messages of the store itself (KeyValue, Event)."""


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

# Requests are encoded by `watch_create` and by WATCH_PROGRESS_REQUEST, since the stubs lack two newer fields.
WATCH = Method("/etcdserverpb.Watch/Watch", bytes, pb.WatchResponse.FromString)

# WatchRequest{progress_request: {}}, field 3, which the stubs do not know.
WATCH_PROGRESS_REQUEST = b"\x1a\x00"

# WatchCreateRequest.fragment = true, field 8, which the stubs do not know.
_FRAGMENT = b"\x40\x01"
# WatchResponse.fragment, likewise.
_FRAGMENT_FIELD = 7


def watch_create(key: bytes, range_end: bytes, start_revision: int) -> bytes:
    """Encode the request that opens a watch; events come in fragments of about the size of a request."""
    create = pb.WatchCreateRequest(key=key, range_end=range_end, start_revision=start_revision, progress_notify=True)
    body: bytes = create.SerializeToString() + _FRAGMENT
    return b"\x0a" + _varint(len(body)) + body


def is_fragment(response: Any) -> bool:
    """Tell whether more fragments of the same batch of events follow this WatchResponse."""
    return any(field.field_number == _FRAGMENT_FIELD and field.data for field in UnknownFieldSet(response))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_key(key: str) -> bytes:
    """Return a key as etcd has it; keys that are not UTF-8 survive the way there and back."""
    return key.encode(errors="surrogateescape")


def decode_key(key: bytes) -> str:
    """Return etcd's key as text."""
    return key.decode(errors="surrogateescape")


def range_end(prefix: bytes) -> bytes:
    """Return the key behind the last one that begins with `prefix`, in etcd's notation (b"\\0" is the very end)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes([stripped[-1] + 1])
