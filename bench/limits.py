"""What the machine could do at best: a claim's transaction put into etcd with nothing around it.

The transaction is a real one: a claim is made through the service, and the watch shows which keys it wrote and with
what. The same keys and bytes are then written elsewhere in the same etcd through the same client library: keys that
were new must be absent, others unchanged, and the graph's head is written by all and compared by none.
"""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.clients import Span
from bench.wire import BenchError, Connection
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Comparison, Item, Operation, Progress, PutEvent, Write
from etcdcompute.model import keys
from etcdcompute.placement.graph.documents import HEAD, key_of

# As many keys as there are providers to claim from, so that etcd's index is as large.
_ROUND = 600
_ELSEWHERE = "/bench"


def watch_claim(etcd: str, connection: Connection, claim: bytes) -> list[Item]:
    """Make a claim through the service, and return what it wrote to etcd."""
    stop = threading.Event()
    # A watch that never says anything must not keep the bench for ever.
    timer = threading.Timer(30.0, stop.set)
    timer.start()
    try:
        with Client([etcd]) as client, client.watch(keys.PLACEMENT, from_revision=client.current_revision()) as watch:
            connection.exchange(claim).check(claim)
            items: list[Item] = []
            for event in watch:
                if isinstance(event, PutEvent):
                    items.append(event.item)
                elif isinstance(event, Progress) and items:
                    return items
    finally:
        timer.cancel()
    raise BenchError("etcd's watch did not show the claim that was made")


class BareWriter:
    """Commits the like of one claim's transaction again and again, in keys of its own."""

    def __init__(self, client: Client, name: str, items: Sequence[Item]) -> None:
        self._client = client
        self._created = [item for item in items if item.version == 1]
        self._changed = [item for item in items if item.version > 1 and item.key != key_of(HEAD)]
        self._head = [Write(f"{_ELSEWHERE}{item.key}", item.value) for item in items if item.key == key_of(HEAD)]
        self._name = name
        self._numbers = itertools.count()
        # When each of the keys that are changed over and over was last written; 0 for never.
        self._revisions = [0] * _ROUND

    def commit(self) -> Span:
        """Commit one, and return when."""
        number = next(self._numbers)
        place = number % _ROUND
        compares: list[Compare] = []
        writes: list[Operation] = []
        for item in self._created:
            key = self._key(item, number)
            compares.append(Compare.absent(key))
            writes.append(Write(key, item.value))
        for item in self._changed:
            key = self._key(item, place)
            revision = self._revisions[place]
            compares.append(Compare(key, Comparison.UNCHANGED, revision) if revision else Compare.absent(key))
            writes.append(Write(key, item.value))
        began = time.monotonic()
        outcome = self._client.commit(compares, [*writes, *self._head])
        ended = time.monotonic()
        if not isinstance(outcome, Committed):
            raise BenchError("etcd refused a bare transaction; something else writes to its keys")
        self._revisions[place] = outcome.revision
        return Span(began, ended)

    def _key(self, item: Item, number: int) -> str:
        """Return a key as long as the item's."""
        tail = f"{self._name}{number:08d}"
        return f"{_ELSEWHERE}{item.key[: max(len(item.key) - len(_ELSEWHERE) - len(tail), 0)]}{tail}"


def commit_one_by_one(etcd: str, items: Sequence[Item], *, count: int) -> list[Span]:
    """Commit so many transactions, one after another."""
    with Client([etcd]) as client:
        writer = BareWriter(client, "single", items)
        return [writer.commit() for _ in range(count)]


def commit_together(etcd: str, items: Sequence[Item], *, threads: int, seconds: float) -> list[Span]:
    """Commit transactions from several threads for so long."""
    with Client([etcd]) as client, ThreadPoolExecutor(threads) as pool:
        until = time.monotonic() + seconds

        def write(thread: int) -> list[Span]:
            writer = BareWriter(client, f"together{thread}-", items)
            return list(_while_time(writer, until))

        return [span for spans in pool.map(write, range(threads)) for span in spans]


def _while_time(writer: BareWriter, until: float) -> Iterator[Span]:
    while time.monotonic() < until:
        yield writer.commit()
