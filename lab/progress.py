"""Plain lines that say what is going on, and go on saying so while it lasts."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

HEARTBEAT_S = 4.0
WORTH_TELLING_S = 2.0


class Progress:
    """Writes progress to one stream, from any thread; each line is whole."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator["Step"]:
        """Announce `what`; while the block runs say every few seconds that it still does; say how long it took."""
        began = self._clock()
        step = Step()
        finished = threading.Event()

        def beat() -> None:
            while not finished.wait(HEARTBEAT_S):
                detail = f": {step.detail}" if step.detail else ""
                self.say(f"    {self._clock() - began:.0f} s{detail}")

        self.say(f"  {what}")
        thread = threading.Thread(target=beat, name=f"progress: {what}", daemon=True)
        thread.start()
        try:
            yield step
        finally:
            finished.set()
            thread.join()
        elapsed = self._clock() - began
        if elapsed >= WORTH_TELLING_S:
            self.say(f"    done in {elapsed:.1f} s")


class Step:
    """A running step; `detail` is the newest thing that is known about it."""

    def __init__(self) -> None:
        self.detail = ""
