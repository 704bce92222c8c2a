"""Compares, operations and keys, as etcd's messages and back."""

from collections.abc import Iterable
from typing import Any, Final, assert_never

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

# Transactions are built by the hundred keys: what is looked up once here would take most of the time there.
_ABSENT: Final = Comparison.ABSENT
_PRESENT: Final = Comparison.PRESENT
_UNCHANGED: Final = Comparison.UNCHANGED
_CREATE_REVISION: Final = rpc.pb.Compare.CREATE
_MOD_REVISION: Final = rpc.pb.Compare.MOD
_EQUAL: Final = rpc.pb.Compare.EQUAL
_GREATER: Final = rpc.pb.Compare.GREATER


def transaction(compares: Iterable[Compare], operations: Iterable[Operation]) -> Any:
    """Return the TxnRequest; InvalidInput where etcd would refuse it anyway."""
    request = rpc.pb.TxnRequest()
    # Messages are filled in where they are: one made apart and copied in costs four times as much.
    for compare in compares:
        _add_compare(request.compare, compare)
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


def _add_compare(compares: Any, compare: Compare) -> None:
    key = key_bytes(compare.key)
    if compare.comparison is _UNCHANGED:
        compares.add(key=key, target=_MOD_REVISION, result=_EQUAL, mod_revision=compare.mod_revision)
    elif compare.comparison is _ABSENT:
        compares.add(key=key, target=_CREATE_REVISION, result=_EQUAL, create_revision=0)
    elif compare.comparison is _PRESENT:
        compares.add(key=key, target=_CREATE_REVISION, result=_GREATER, create_revision=0)
    else:
        assert_never(compare.comparison)


def _fill_operation(message: Any, operation: Operation) -> None:
    match operation:
        case Write():
            put = message.request_put
            put.key = key_bytes(operation.key)
            put.value = operation.value
            if operation.lease:
                put.lease = operation.lease
        case Remove():
            message.request_delete_range.key = key_bytes(operation.key)
        case RemovePrefix():
            if not operation.prefix:
                raise InvalidInput("etcd: removing the empty prefix would empty the whole store")
            message.request_delete_range.key, message.request_delete_range.range_end = prefix_range(operation.prefix)
        case _:
            assert_never(operation)
