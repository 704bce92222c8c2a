"""The stream of changes: server-sent events, each with the revision to resume from.

    id: 57
    event: change
    data: {"revision":57,"providers":{"created":[…]}}

The first event is `start` where the client does not say where to begin: its id is the revision behind which the stream
begins. `reset` says that changes were lost to this client: it reads the export, and goes on with the events whose ids
are higher than the export's revision.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request as HttpRequest

from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.streams import StreamedAnswer, Streams
from etcdcompute.placement.graph.export import encode
from etcdcompute.placement.graph.feed import Change, Feed

MAX_STREAMS: Final = 1000
HEARTBEAT_S: Final = 15.0
_PIECE_BYTES: Final = 64 * 1024
_LOST: Final = "The changes after revision {} are no longer known: read /graph/export and go on from its revision."
# How long a client that lost its connection waits before it comes back.
_PREAMBLE: Final = b"retry: 1000\n\n"


async def follow(streams: Streams, http: HttpRequest) -> StreamedAnswer:
    """Send what changes, from a revision on or from now on."""
    since = _since(http)
    if streams.open >= MAX_STREAMS:
        raise Problem(503, f"{MAX_STREAMS} streams are open, which is all this process serves; try another or later.")
    feed = await streams.follow_changes()
    return StreamedAnswer(streams, _pieces(streams, feed, since), "text/event-stream", until_gone=True)


def _since(http: HttpRequest) -> int | None:
    """Return the revision the client has; a browser that comes back says it in a header, with the query of before."""
    for name in http.query_params:
        if name != "since":
            raise Problem(400, f"Invalid query string parameters: {name[:100]!r} is not known; there is since.")
    source, text = "The header Last-Event-ID", http.headers.get("last-event-id")
    if text is None:
        source, text = "The query parameter since", http.query_params.get("since")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Problem(400, f"{source} must be a revision, a whole number; got {text[:100]!r}.")
    return int(text)


async def _pieces(streams: Streams, feed: Feed, since: int | None) -> AsyncGenerator[bytes, None]:
    yield _PREAMBLE
    if since is None:
        since = feed.latest
        yield _event(since, "start", encode({"revision": since}))
    # Nobody may have read for long; others are not to wait for what there is to write down.
    await streams.on_thread(feed.catch_up)
    while not streams.stopping:
        news = streams.news.listen()
        try:
            changes = feed.read(since, _PIECE_BYTES)
            if changes is None:
                lost, since = since, feed.latest
                yield _event(since, "reset", encode({"revision": since, "reason": _LOST.format(lost)}))
            elif changes:
                yield _join(changes)
                since = changes[-1].revision
            else:
                await asyncio.wait({news}, timeout=HEARTBEAT_S)
                if not news.done():
                    yield b": still here\n\n"
        finally:
            news.cancel()
    yield b": the service stops\n\n"


def _join(changes: list[Change]) -> bytes:
    return b"".join(_event(change.revision, "change", change.data) for change in changes)


def _event(revision: int, name: str, data: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (revision, name.encode(), data)
