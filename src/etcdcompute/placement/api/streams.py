"""Answers that go out piece by piece, while the request still comes in or for as long as the client listens.

Their handlers are coroutines on the event loop: they hold no thread while they wait, and end when the service does.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from etcdcompute.placement.graph.feed import Feed
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.suspension import run_suspendable

P = ParamSpec("P")
T = TypeVar("T")

_LOG = logging.getLogger(__name__)
# A client that takes nothing for as long is given up.
STALL_S: Final = 30.0


class Bell:
    """Wakes coroutines from any thread. Who listens before it looks misses nothing."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._rung = False

    def listen(self) -> asyncio.Future[None]:
        """Return what is done when the bell rings next."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._rung = loop, False
            self._waiting.clear()
        future = loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def ring(self) -> None:
        """Wake all that listen; cheap where nobody does."""
        if self._waiting and not self._rung and self._loop is not None and not self._loop.is_closed():
            self._rung = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._rung = False
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)


class Streams:
    """What handlers of streams have: the store, threads for what blocks, and word of the service's end."""

    def __init__(self, store: GraphStore, workers: Executor) -> None:
        self.store = store
        self.stopping = False
        self.news = Bell()
        self.ending = Bell()
        self.open = 0
        self._workers = workers
        self._feed: Feed | None = None

    async def follow_changes(self) -> Feed:
        """Return the feed with all in it that was written before; from now on `news` tells of what is new."""
        feed = await run_suspendable(self._workers, self.store.follow_changes)
        if feed is not self._feed:
            self._feed = feed
            feed.listen(self.news.ring)
        return feed

    def stop(self) -> None:
        """Tell all streams to end; from any thread."""
        self.stopping = True
        self.news.ring()
        self.ending.ring()

    def on_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run what computes for long on a thread."""
        return asyncio.get_running_loop().run_in_executor(self._workers, lambda: function(*args, **kwargs))


class StreamedAnswer:
    """An ASGI answer made of pieces. With `until_gone` it also ends when the client does."""

    def __init__(
        self, streams: Streams, pieces: AsyncGenerator[bytes, None], media_type: str, *, until_gone: bool = False
    ) -> None:
        self.status_code = 200
        self.headers: dict[str, str] = {
            "content-type": media_type,
            "cache-control": "no-store",
            # Proxies in between shall not collect the pieces.
            "x-accel-buffering": "no",
        }
        self.sent_bytes = 0
        self._streams = streams
        self._pieces = pieces
        self._until_gone = until_gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the pieces as they come."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        self._streams.open += 1
        gone = asyncio.ensure_future(_until_disconnect(receive)) if self._until_gone else None
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            while (piece := await self._next(gone)) is not None:
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                self.sent_bytes += len(piece)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            _LOG.info("a client has taken nothing for %.0f s: its stream is ended", STALL_S)
        except asyncio.CancelledError:
            # The server does not wait for clients that do not read.
            if not self._streams.stopping:
                raise
        finally:
            self._streams.open -= 1
            if gone is not None:
                gone.cancel()
            await self._pieces.aclose()

    async def _next(self, gone: "asyncio.Future[None] | None") -> bytes | None:
        """Return the next piece, None at the end or where the client has gone."""
        if gone is None:
            return await anext(self._pieces, None)
        piece = asyncio.ensure_future(anext(self._pieces, None))
        try:
            both: set[asyncio.Future[Any]] = {piece, gone}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await _end(piece)
            raise
        if piece.done():
            return piece.result()
        await _end(piece)
        return None


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: "asyncio.Future[bytes | None]") -> None:
    """Cancel a step of a generator and wait for it: it cannot be closed while it runs."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
        await task


StreamHandler = Callable[[Streams, HttpRequest], Awaitable[StreamedAnswer]]


@dataclass(frozen=True, slots=True)
class StreamAction:
    """What a method does whose answer goes out piece by piece; `takes` and `gives` are media types."""

    handler: StreamHandler
    takes: str = ""
    gives: str = ""
    rule: str = ""
    since: int = 0
    until: int = 10**9
    otherwise: int = 404
