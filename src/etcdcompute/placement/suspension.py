"""Waiting without a thread: code written as if it blocked, run on the event loop, suspended where it waits.

The store's methods wait, for etcd and for each other. On a thread per request the waking of threads costs more than
everything else a request does. So requests run on the event loop, in greenlets (as SQLAlchemy's asyncio does), and what
waits, waits through this module: `gate` and `offload` suspend the greenlet where there is one, and block the thread
where there is none, as in tests and on the threads of long computations.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

import greenlet

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", covariant=True)


class Gate(Protocol):
    """A wait for something that somebody else does."""

    def open(self) -> None:
        """Let who waits, or is going to wait, go on. From any thread."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until the gate is open; False where it is not in time. For who made the gate."""


class _ThreadGate:
    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)


class _Suspendable(greenlet.greenlet):
    """Code that the event loop runs, and that gives the loop a future wherever it has to wait."""

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop, executor: Executor) -> None:
        super().__init__(function)
        self.loop = loop
        self.executor = executor

    def await_(self, future: asyncio.Future[T]) -> T:
        """Suspend this code until the future is done."""
        # Its parent is the loop's own greenlet, in which `run_suspendable` goes on.
        result: T = cast("greenlet.greenlet", self.parent).switch(future)
        return result


class _LoopGate:
    def __init__(self, owner: _Suspendable) -> None:
        self._owner = owner
        self._thread = threading.get_ident()
        self._open = False
        self._waiting: asyncio.Future[None] | None = None

    def open(self) -> None:
        self._open = True
        if threading.get_ident() == self._thread:
            self._wake()
        else:
            # RuntimeError: the loop has ended, and with it who waited.
            with contextlib.suppress(RuntimeError):
                self._owner.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def wait(self, timeout_s: float) -> bool:
        if not self._open:
            self._waiting = self._owner.loop.create_future()
            late = self._owner.loop.call_later(timeout_s, self._wake)
            try:
                self._owner.await_(self._waiting)
            finally:
                late.cancel()
                self._waiting = None
        return self._open


def gate() -> Gate:
    """Return a gate for the calling code to wait at."""
    current = greenlet.getcurrent()
    return _LoopGate(current) if isinstance(current, _Suspendable) else _ThreadGate()


def offload(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what blocks its thread, on a thread of its own where the caller is on the event loop."""
    if isinstance(greenlet.getcurrent(), _Suspendable):
        return begin(function, *args, **kwargs).result()
    return function(*args, **kwargs)


class Begun(Protocol[R]):
    """Work on another thread that was begun and may be over."""

    def result(self) -> R:
        """Wait for its end; return what came of it, or raise that. Once, and for who began it."""


class _OnLoop(Generic[T]):
    def __init__(self, owner: _Suspendable, future: asyncio.Future[T]) -> None:
        self._owner = owner
        self._future = future

    def result(self) -> T:
        return self._owner.await_(self._future)


def begin(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Begun[T]:
    """Call what blocks its thread on another, and go on meanwhile."""
    current = greenlet.getcurrent()
    if isinstance(current, _Suspendable):
        call = current.loop.run_in_executor(current.executor, lambda: function(*args, **kwargs))
        return _OnLoop(current, call)
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is that of who waits
            future.set_exception(error)

    threading.Thread(target=run, name="placement-begun", daemon=True).start()
    return future


async def run_suspendable(executor: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function on the event loop, suspended while it waits; what it offloads goes to `executor`."""
    code = _Suspendable(lambda: function(*args, **kwargs), asyncio.get_running_loop(), executor)
    given: Any = code.switch()
    while not code.dead:
        try:
            value = await given
        except BaseException as error:  # noqa: BLE001 - it is the suspended code's, cancellation included
            given = code.throw(error)
        else:
            given = code.switch(value)
    result: T = given
    return result
