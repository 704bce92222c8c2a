"""Waiting for what gives no event: the functional tests' one place that lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_S = 20.0
INTERVAL_S = 0.02


def eventually(probe: Callable[[], T | None], what: str, timeout_s: float = TIMEOUT_S) -> T:
    """Return the probe's first true answer."""
    until = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < until, f"not in {timeout_s} s: {what}"
        time.sleep(INTERVAL_S)
