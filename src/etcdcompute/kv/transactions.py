"""Compares, operations and keys, as etcd's messages and back."""

from collections.abc import Iterable
from typing import Any, assert_never

from etcdcompute.errors import InvalidInput
from etcdcompute.kv import rpc
from etcdcompute.kv.records import (
    Committed,
    Compare,
    Comparison,
    Item,
    Operation,
    Rejected,
    Remove,
    RemovePrefix,
    Write,
)


def transaction(compares: Iterable[Compare], operations: Iterable[Operation]) -> Any:
    """Return the TxnRequest; InvalidInput where etcd would refuse it anyway."""
    return rpc.pb.TxnRequest(
        compare=[_compare(compare) for compare in compares],
        success=[_operation(operation) for operation in operations],
    )


def outcome(response: Any) -> Committed | Rejected:
    """Return what became of a transaction."""
    revision = int(response.header.revision)
    return Committed(revision) if response.succeeded else Rejected(revision)


def item(kv: Any) -> Item:
    """Return etcd's KeyValue as an Item."""
    return Item(
        key=rpc.decode_key(kv.key),
        value=bytes(kv.value),
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def key_bytes(key: str) -> bytes:
    """Return the key as etcd has it; InvalidInput for the empty one."""
    if not key:
        raise InvalidInput("etcd: a key must not be empty")
    return rpc.encode_key(key)


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """Return (key, range_end) that cover everything below `prefix`; the empty prefix is the whole store."""
    start = rpc.encode_key(prefix)
    return start or b"\0", rpc.range_end(start)


def _compare(compare: Compare) -> Any:
    message = rpc.pb.Compare(key=key_bytes(compare.key))
    match compare.comparison:
        case Comparison.ABSENT:
            message.target = rpc.pb.Compare.CREATE
            message.result = rpc.pb.Compare.EQUAL
            message.create_revision = 0
        case Comparison.PRESENT:
            message.target = rpc.pb.Compare.CREATE
            message.result = rpc.pb.Compare.GREATER
            message.create_revision = 0
        case Comparison.UNCHANGED:
            message.target = rpc.pb.Compare.MOD
            message.result = rpc.pb.Compare.EQUAL
            message.mod_revision = compare.mod_revision
        case _:
            assert_never(compare.comparison)
    return message


def _operation(operation: Operation) -> Any:
    match operation:
        case Write():
            put = rpc.pb.PutRequest(key=key_bytes(operation.key), value=operation.value, lease=operation.lease)
            return rpc.pb.RequestOp(request_put=put)
        case Remove():
            delete = rpc.pb.DeleteRangeRequest(key=key_bytes(operation.key))
            return rpc.pb.RequestOp(request_delete_range=delete)
        case RemovePrefix():
            if not operation.prefix:
                raise InvalidInput("etcd: removing the empty prefix would empty the whole store")
            start, end = prefix_range(operation.prefix)
            delete = rpc.pb.DeleteRangeRequest(key=start, range_end=end)
            return rpc.pb.RequestOp(request_delete_range=delete)
        case _:
            assert_never(operation)
