"""Clients of the real etcd, and a watcher that runs in its own thread."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from etcdcompute.errors import EtcdComputeError
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import WatchEvent
from tests.functional.etcd_server import EtcdServer


@pytest.fixture
def client(etcd: EtcdServer) -> Iterator[Client]:
    with Client([etcd.endpoint]) as client:
        yield client


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Every thread of ours is joined by close()."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("kv-")]
    assert not left


class Watcher:
    """Collects what a watch delivers; `until` waits for a condition on all of it."""

    def __init__(self, client: Client, prefix: str, *, from_revision: int | None = None) -> None:
        self.events: list[WatchEvent] = []
        self.error: EtcdComputeError | None = None
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, args=(client, prefix, from_revision))
        self.thread.start()

    def _run(self, client: Client, prefix: str, from_revision: int | None) -> None:
        try:
            with client.watch(prefix, from_revision=from_revision, stop=self.stop) as events:
                for event in events:
                    with self._changed:
                        self.events.append(event)
                        self._changed.notify_all()
        except EtcdComputeError as error:
            self.error = error
        with self._changed:
            self._changed.notify_all()

    def until(self, condition: Callable[[list[WatchEvent]], bool], timeout_s: float = 20) -> list[WatchEvent]:
        with self._changed:
            met = self._changed.wait_for(lambda: self.error or condition(self.events), timeout_s)
            assert self.error is None, self.error
            assert met, f"not within {timeout_s} s; got {self.events[-5:]}"
            return list(self.events)

    def close(self) -> float:
        """Stop, and return how long that took in seconds."""
        started = time.monotonic()
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return time.monotonic() - started


@pytest.fixture
def watching() -> Iterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def start(client: Client, prefix: str, *, from_revision: int | None = None) -> Watcher:
        watchers.append(Watcher(client, prefix, from_revision=from_revision))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.close()
