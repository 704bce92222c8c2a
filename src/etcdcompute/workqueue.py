"""A queue of keys to reconcile (after client-go's work queue).

Events say only *that* something about a key may have changed, so the queue holds keys and no events:

- a key is never handed to two workers at once;
- a key that is added while it waits is worked on once;
- a key that is added while a worker has it is worked on once more afterwards;
- a key can be added for later, or with a pause that doubles with each failure in a row.

    queue.add(key)                          # an event
    key = queue.get(); reconcile(key); queue.forget(key); queue.done(key)
    ... on failure: queue.retry(key); queue.done(key)
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """A queue of distinct keys, for any number of producers and workers.

    Pauses between retries of a failing key begin with `retry_base_s` and double up to `retry_limit_s`. `clock` returns
    seconds that only grow. Every key that `get` returned must be given back with `done`.
    """

    def __init__(
        self,
        *,
        retry_base_s: float = 0.1,
        retry_limit_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retry_base_s = retry_base_s
        self._retry_limit_s = retry_limit_s
        self._clock = clock
        self._changed = threading.Condition()
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()  # the keys in _ready
        self._working: set[Key] = set()
        self._again: set[Key] = set()  # added while being worked on
        self._due: dict[Key, float] = {}  # the moment a delayed key is added
        self._schedule: list[tuple[float, int, Key]] = []  # heap over _due; entries that _due disowned are skipped
        self._sequence = 0
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free; takes the place of an addition for later."""
        with self._changed:
            self._due.pop(key, None)
            self._add(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have the key worked on in `delay_s` seconds, unless that is to happen earlier anyway."""
        with self._changed:
            if self._closed or key in self._waiting or key in self._again:
                return
            due = self._clock() + max(0.0, delay_s)
            if self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._schedule, (due, self._sequence, key))
            self._changed.notify()

    def retry(self, key: Key) -> float:
        """Count a failure of the key, have it worked on after a pause, and return that pause in seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay_s = float(min(self._retry_limit_s, self._retry_base_s * 2 ** min(failures, 32)))
            self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: Key) -> None:
        """Call the key healthy: its next failure is its first."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """Return how many times in a row the key has failed."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self, timeout_s: float | None = None) -> Key | None:
        """Wait for a key and take it; None once the queue is closed, or when `timeout_s` is over."""
        until = None if timeout_s is None else self._clock() + timeout_s
        with self._changed:
            while True:
                if self._closed:
                    return None
                self._promote()
                if self._ready:
                    key = self._ready.popleft()
                    self._waiting.discard(key)
                    self._working.add(key)
                    # This worker may have been the one that waited for the next due key: pass the watch on.
                    self._changed.notify()
                    return key
                now = self._clock()
                if until is not None and now >= until:
                    return None
                moments = [moment for moment in (until, self._next_due()) if moment is not None]
                self._changed.wait(max(0.0, min(moments) - now) if moments else None)

    def done(self, key: Key) -> None:
        """Give back a key that `get` returned."""
        with self._changed:
            self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        """Let every `get`, waiting or to come, return None; what is still queued is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """Return how many keys are ready for a worker now."""
        with self._changed:
            self._promote()
            return len(self._ready)

    def _add(self, key: Key) -> None:
        if self._closed or key in self._waiting:
            return
        if key in self._working:
            self._again.add(key)
            return
        self._waiting.add(key)
        self._ready.append(key)
        self._changed.notify()

    def _promote(self) -> None:
        """Make ready what is due."""
        now = self._clock()
        while (due := self._next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._schedule)
            del self._due[key]
            self._add(key)

    def _next_due(self) -> float | None:
        while self._schedule:
            due, _, key = self._schedule[0]
            if self._due.get(key) == due:
                return due
            heapq.heappop(self._schedule)
        return None
