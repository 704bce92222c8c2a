"""What can go wrong with etcd, and the one table that turns gRPC's statuses into it.

EtcdComputeError
├── Unavailable
│   └── StoreFull      etcd's space quota is used up: nothing can be written
├── InvalidInput
│   └── RequestTooLarge  a document or a transaction is larger than etcd takes
├── LeaseLost          the lease expired or was revoked
└── StoreError         etcd answered something that it should not
"""

from enum import Enum, auto

import grpc

from etcdcompute.errors import AccessDenied, EtcdComputeError, InvalidInput, Unavailable


class StoreFull(Unavailable):
    """etcd's space quota is used up; reads go on, writes fail until somebody makes room."""

    code = "store_full"


class RequestTooLarge(InvalidInput):
    """etcd refuses the request for its size or for its number of operations."""

    code = "request_too_large"
    http_status = 413


class LeaseLost(EtcdComputeError):
    """The lease does not exist any more: what was written under it is gone."""

    code = "lease_lost"
    http_status = 409
    retryable = True


class StoreError(EtcdComputeError):
    """etcd answered with an error that this code does not expect."""

    code = "store_error"
    http_status = 502


class Kind(Enum):
    """What a failed call means for whoever made it."""

    NOT_SENT = auto()
    """The endpoint did not take the request: another one may."""
    UNANSWERED = auto()
    """The request went out and no answer came: it may have been carried out."""
    TOKEN = auto()
    """The token is unknown to etcd (expired, restarted, changed users): authenticate again. Nothing was done."""
    COMPACTED = auto()
    """The revision asked for is gone, or does not exist yet."""
    NO_LEASE = auto()
    """The lease does not exist."""
    AUTH_DISABLED = auto()
    """There is no authentication to be had."""
    FINAL = auto()
    """Trying again changes nothing; `Failure.error` says why."""


class Failure(Exception):
    """One failed attempt of one call. Internal to kv/: callers see `error` or what `connection` makes of it."""

    def __init__(self, kind: Kind, detail: str, error: EtcdComputeError | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.error = error


# The beginnings of details with which nothing has left this process, or with which etcd refuses before it proposes.
_NOT_SENT = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
)
_BAD_TOKEN = ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old")
_NO_TOKEN = "etcdserver: user name is empty"  # noqa: S105  a message of etcd's
_TOO_LARGE = ("etcdserver: request is too large", "etcdserver: too many operations in txn request")


def failure_of(error: grpc.RpcError) -> Failure:
    """Say what a failed call means. Unknown statuses count as unanswered: the careful reading."""
    status = error.code()
    detail = str(error.details() or status.name)
    if detail.startswith(_NOT_SENT):
        return Failure(Kind.NOT_SENT, detail)
    if status is grpc.StatusCode.UNAUTHENTICATED or detail.startswith((*_BAD_TOKEN, _NO_TOKEN)):
        return Failure(Kind.TOKEN, detail)
    if status is grpc.StatusCode.PERMISSION_DENIED or "authentication failed" in detail:
        return Failure(Kind.FINAL, detail, AccessDenied(f"etcd refuses: {detail}; check etcd's user and roles"))
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(detail)
    if status is grpc.StatusCode.OUT_OF_RANGE:
        return Failure(Kind.COMPACTED, detail)
    if status is grpc.StatusCode.NOT_FOUND and "lease" in detail:
        return Failure(Kind.NO_LEASE, detail, LeaseLost(f"etcd does not know the lease: {detail}"))
    if status is grpc.StatusCode.FAILED_PRECONDITION and "authentication is not enabled" in detail:
        return Failure(Kind.AUTH_DISABLED, detail)
    if status is grpc.StatusCode.INVALID_ARGUMENT:
        if detail.startswith(_TOO_LARGE):
            return Failure(Kind.FINAL, detail, RequestTooLarge(f"etcd refuses the request: {detail}"))
        return Failure(Kind.FINAL, detail, InvalidInput(f"etcd refuses the request: {detail}"))
    if status in _UNANSWERED:
        return Failure(Kind.UNANSWERED, detail)
    return Failure(Kind.FINAL, detail, StoreError(f"etcd answered {status.name}: {detail}"))


_UNANSWERED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DATA_LOSS,
    }
)


def _exhausted(detail: str) -> Failure:
    if "space exceeded" in detail:
        full = StoreFull(f"etcd is full ({detail}): compact and defragment it, then disarm its alarm")
        return Failure(Kind.FINAL, detail, full)
    return Failure(Kind.FINAL, detail, RequestTooLarge(f"etcd refuses the request: {detail}"))
