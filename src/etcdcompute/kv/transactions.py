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
    request = rpc.pb.TxnRequest()
    # Messages are filled in where they are: one made apart and copied in costs four times as much.
    for compare in compares:
        _fill_compare(request.compare.add(), compare)
    for operation in operations:
        _fill_operation(request.success.add(), operation)
    return request


def outcome(response: Any) -> Committed | Rejected:
    """Return what became of a transaction."""
    revision = int(response.header.revision)
    return Committed(revision) if response.succeeded else Rejected(revision)


def item(kv: Any) -> Item:
    """Return etcd's KeyValue as an Item."""
    return Item(rpc.decode_key(kv.key), kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def key_bytes(key: str) -> bytes:
    """Return the key as etcd has it; InvalidInput for the empty one."""
    if not key:
        raise InvalidInput("etcd: a key must not be empty")
    return rpc.encode_key(key)


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """Return (key, range_end) that cover everything below `prefix`; the empty prefix is the whole store."""
    start = rpc.encode_key(prefix)
    return start or b"\0", rpc.range_end(start)


def _fill_compare(message: Any, compare: Compare) -> None:
    message.key = key_bytes(compare.key)
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


def _fill_operation(message: Any, operation: Operation) -> None:
    match operation:
        case Write():
            put = message.request_put
            put.key = key_bytes(operation.key)
            put.value = operation.value
            put.lease = operation.lease
        case Remove():
            message.request_delete_range.key = key_bytes(operation.key)
        case RemovePrefix():
            if not operation.prefix:
                raise InvalidInput("etcd: removing the empty prefix would empty the whole store")
            message.request_delete_range.key, message.request_delete_range.range_end = prefix_range(operation.prefix)
        case _:
            assert_never(operation)
