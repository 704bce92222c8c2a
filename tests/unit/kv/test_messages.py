"""Keys, ranges, compares, operations, addresses and statuses: all that needs no server."""

from dataclasses import dataclass

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdcompute.errors import AccessDenied, InvalidInput
from etcdcompute.kv import rpc
from etcdcompute.kv.client import Client
from etcdcompute.kv.endpoint import Endpoint
from etcdcompute.kv.errors import Kind, LeaseLost, RequestTooLarge, StoreError, StoreFull, failure_of
from etcdcompute.kv.records import Compare, Item, Remove, RemovePrefix, Write
from etcdcompute.kv.transactions import transaction


@given(prefix=st.binary(min_size=1, max_size=6), key=st.binary(max_size=8))
def test_a_range_holds_exactly_what_begins_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = rpc.range_end(prefix)
    inside = key >= prefix and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@given(key=st.binary(max_size=20))
def test_any_key_survives_the_way_to_text_and_back(key: bytes) -> None:
    assert rpc.encode_key(rpc.decode_key(key)) == key


def test_what_etcd_got_after_the_descriptions_were_made_is_on_the_wire() -> None:
    assert rpc.watch_progress().SerializeToString() == b"\x1a\x00"
    assert rpc.pb.WatchResponse.FromString(b"\x38\x01").fragment


def test_compares_and_operations_become_etcds() -> None:
    item = Item("/b", b"", 3, 9, 2)
    request = transaction(
        [Compare.absent("/a"), Compare.unchanged(item), Compare.present("/c")],
        [Write("/a", b"1", 77), Remove("/b"), RemovePrefix("/c/")],
    )
    compare = rpc.pb.Compare
    assert [(each.target, each.result) for each in request.compare] == [
        (compare.CREATE, compare.EQUAL),
        (compare.MOD, compare.EQUAL),
        (compare.CREATE, compare.GREATER),
    ]
    assert request.compare[1].mod_revision == 9
    put, delete, prefix = request.success
    assert (put.request_put.key, put.request_put.value, put.request_put.lease) == (b"/a", b"1", 77)
    assert (delete.request_delete_range.key, delete.request_delete_range.range_end) == (b"/b", b"")
    assert (prefix.request_delete_range.key, prefix.request_delete_range.range_end) == (b"/c/", b"/c0")
    with pytest.raises(InvalidInput, match="whole store"):
        transaction([], [RemovePrefix("")])


@dataclass
class Status(grpc.RpcError):  # type: ignore[misc]  # grpc is untyped
    """A failed call as grpc raises it."""

    status: grpc.StatusCode
    text: str

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return self.text


Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("status", "text", "kind", "error"),
    [
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: ...", Kind.NOT_SENT, None),
        (Code.UNAVAILABLE, "etcdserver: no leader", Kind.NOT_SENT, None),
        (Code.UNAVAILABLE, "etcdserver: request timed out", Kind.UNANSWERED, None),
        (Code.UNAVAILABLE, "etcdserver: leader changed", Kind.UNANSWERED, None),
        (Code.UNAVAILABLE, "Socket closed", Kind.UNANSWERED, None),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", Kind.UNANSWERED, None),
        (Code.CANCELLED, "Channel closed!", Kind.UNANSWERED, None),
        (Code.UNKNOWN, "", Kind.UNANSWERED, None),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Kind.NOT_SENT, None),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Kind.FINAL, StoreFull),
        (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max", Kind.FINAL, RequestTooLarge),
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", Kind.TOKEN, None),
        (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", Kind.TOKEN, None),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", Kind.TOKEN, None),
        (Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user", Kind.FINAL, AccessDenied),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", Kind.FINAL, RequestTooLarge),
        (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", Kind.FINAL, InvalidInput),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", Kind.FINAL, AccessDenied),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Kind.COMPACTED, None),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", Kind.NO_LEASE, LeaseLost),
        (Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", Kind.AUTH_DISABLED, None),
        (Code.UNIMPLEMENTED, "unknown method", Kind.FINAL, StoreError),
    ],
)
def test_each_status_means_one_thing(
    status: grpc.StatusCode, text: str, kind: Kind, error: type[Exception] | None
) -> None:
    failure = failure_of(Status(status, text))
    assert failure.kind is kind
    assert (type(failure.error) if failure.error else None) is error


@pytest.mark.parametrize(
    ("given_url", "url", "target"),
    [
        ("127.0.0.1", "http://127.0.0.1:2379", "127.0.0.1:2379"),
        ("http://etcd1:23790/", "http://etcd1:23790", "etcd1:23790"),
        ("https://[fd00::1]:2379", "https://[fd00::1]:2379", "[fd00::1]:2379"),
    ],
)
def test_addresses_are_completed(given_url: str, url: str, target: str) -> None:
    endpoint = Endpoint(given_url, None)
    assert (endpoint.url, endpoint.target) == (url, target)
    endpoint.close()


@pytest.mark.parametrize("wrong", ["", "ftp://a:1", "http://a:1/x", "http://a:99999", "http://", "http://user:pw@a:1"])
def test_a_wrong_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="endpoint"):
        Client([wrong])


def test_a_client_needs_an_endpoint_and_a_time_limit() -> None:
    with pytest.raises(InvalidInput, match="at least one endpoint"):
        Client([])
    with pytest.raises(InvalidInput, match="request_timeout_s"):
        Client(["http://127.0.0.1:1"], request_timeout_s=0)
