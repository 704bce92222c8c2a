"""HTTP as it comes off the socket: uvicorn's fast protocol, with the limits that it leaves to others.

A request's head may have MAX_HEAD_BYTES, in whatever pieces it comes, and must be there within PATIENCE_S; the body may
not pause for longer. What is no HTTP is refused with an error document like everything else.
"""

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from etcdcompute.placement.api.app import MAX_QUERY_BYTES
from etcdcompute.placement.api.problems import Problem

MAX_HEAD_BYTES = 4 * MAX_QUERY_BYTES
PATIENCE_S = 60.0


class PlacementProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._heard_at = 0.0
        self._impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request soon."""
        super().connection_made(transport)
        self._impatience = self.loop.call_later(PATIENCE_S, self._time_is_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse a head that has become too long."""
        self._heard_at = self.loop.time()
        if self._in_head:
            self._head_bytes += len(data)
            if self._impatience is None:
                self._impatience = self.loop.call_later(PATIENCE_S, self._time_is_up)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"The request's line and headers are longer than {MAX_HEAD_BYTES} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; what comes behind a body in pieces is left out."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take up the request; what follows is its body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._in_head = True
        self._head_bytes = 0
        self._be_patient()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, saying why; called while the parser's error is handled."""
        reason = str(sys.exc_info()[1] or msg)
        if reason == "User callback error":
            reason = "what it asks for is no path"
        elif "Content-Length" in reason:
            reason = "content-length header must be an integer"
        self._refuse(400, f"This is no HTTP request: {reason}.")

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _time_is_up(self) -> None:
        self._impatience = None
        if self.transport.is_closing():
            return
        if not self._in_head:
            # While the service is busy with what has come it does not read on.
            pause_s = 0.0 if self.flow.read_paused else self.loop.time() - self._heard_at
            if pause_s < PATIENCE_S:
                self._impatience = self.loop.call_later(PATIENCE_S - pause_s, self._time_is_up)
                return
        if self._head_bytes:
            self._refuse(408, f"Nothing came for {PATIENCE_S:.0f} s, and the request is not whole.")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer without the application, and hang up."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            # An answer is under way already.
            self.transport.abort()
            return
        body = json.dumps(Problem(status, detail).document(None)).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
