"""Reading a whole prefix, page by page, as it stood at one revision."""

import threading
from typing import Any

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.kv import rpc
from etcdcompute.kv.connection import Connection
from etcdcompute.kv.errors import Failure, Kind
from etcdcompute.kv.records import Item, Listing
from etcdcompute.kv.transactions import item, prefix_range

_FIRST_PAGE_KEYS = 100
_MOST_PAGE_KEYS = 5_000
_PAGE_BYTES = 1 << 20
# How often a listing begins again because its revision was compacted under it.
_RESTARTS = 5


def list_prefix(
    connection: Connection,
    prefix: str,
    *,
    deadline: Deadline | None = None,
    stop: threading.Event | None = None,
) -> Listing:
    """Return all keys below `prefix` at one revision. Without a deadline each page gets the request's timeout."""
    for _ in range(_RESTARTS):
        try:
            return _list_once(connection, prefix, deadline, stop)
        except Failure as failure:
            if failure.kind is not Kind.COMPACTED:
                raise
            detail = failure.detail
    raise Unavailable(f"etcd is compacted faster than {prefix!r} can be read: {detail}")


def _list_once(connection: Connection, prefix: str, deadline: Deadline | None, stop: threading.Event | None) -> Listing:
    start, end = prefix_range(prefix)
    items: list[Item] = []
    revision = 0
    limit = _FIRST_PAGE_KEYS
    while True:
        request = rpc.pb.RangeRequest(key=start, range_end=end, limit=limit, revision=revision)
        page: Any = connection.read(rpc.RANGE, request, deadline or connection.deadline(), stop)
        # Later pages carry the store's revision of their own moment; the listing's is that of the first.
        revision = revision or int(page.header.revision)
        items.extend(item(kv) for kv in page.kvs)
        if not page.more:
            return Listing(revision, tuple(items))
        start = page.kvs[-1].key + b"\0"
        average_bytes = max(1, page.ByteSize() // len(page.kvs))
        limit = max(1, min(_PAGE_BYTES // average_bytes, _MOST_PAGE_KEYS))
