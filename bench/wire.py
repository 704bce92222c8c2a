"""HTTP/1.1 as bytes: requests are prepared before the clock runs, answers are read whole and not parsed.

What a client costs is taken from the server it measures, on a machine of two cores; so there is no library here.
"""

import json
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

TOKEN = "admin"
"""What both services take: ours as its token, OpenStack's `noauth2` as an administrator."""
VERSION = "1.39"

_RECEIVE_BYTES = 1 << 18
_HEAD_END = b"\r\n\r\n"
_CONFLICT = b"placement.concurrent_update"


class Address(NamedTuple):
    """Where a service listens, and whether it takes more than one request on a connection."""

    host: str
    port: int
    keeps_alive: bool = True


class BenchError(Exception):
    """Something could not be measured; the message says what and why."""


class TimeLimit(BenchError):
    """There was no whole answer in time."""


def prepare(method: str, target: str, body: object = None, *, lines: bytes = b"") -> bytes:
    """Return a whole request; `body` goes as JSON, `lines` as JSON lines, which are wanted back."""
    content = lines or (json.dumps(body).encode() if body is not None else b"")
    kind = "application/x-ndjson" if lines else "application/json"
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: placement\r\nAccept: {kind}\r\nX-Auth-Token: {TOKEN}\r\n"
        f"OpenStack-API-Version: placement {VERSION}\r\n"
    )
    if content:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


class Answer:
    """One answer as it arrives; `feed` it until it is complete."""

    __slots__ = ("_data", "_end", "_head_end", "closes", "status")

    def __init__(self) -> None:
        self._data = bytearray()
        self._head_end = -1
        # Where the body ends; with chunks, where the next chunk begins, and negative.
        self._end = 0
        self.status = 0
        self.closes = False

    def feed(self, data: bytes) -> bool:
        """Take in bytes and tell whether the answer is complete."""
        self._data += data
        if self._head_end < 0 and not self._read_head():
            return False
        return self._chunks_complete() if self._end < 0 else len(self._data) >= self._end

    def _read_head(self) -> bool:
        at = self._data.find(_HEAD_END)
        if at < 0:
            return False
        self._head_end = at + len(_HEAD_END)
        head = bytes(self._data[:at]).lower()
        self.status = int(head[9:12])
        self.closes = b"\r\nconnection: close" in head or head.startswith(b"http/1.0")
        if b"\r\ntransfer-encoding: chunked" in head:
            self._end = -self._head_end
        else:
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._end = self._head_end + int(length or 0)
        return True

    def _chunks_complete(self) -> bool:
        while True:
            line_end = self._data.find(b"\r\n", -self._end)
            if line_end < 0:
                return False
            size = int(self._data[-self._end : line_end], 16)
            chunk_end = line_end + 2 + size + 2
            if len(self._data) < chunk_end:
                return False
            if not size:
                return True
            self._end = -chunk_end

    def body(self) -> bytes:
        """Return the body of a complete answer."""
        if self._end >= 0:
            return bytes(self._data[self._head_end :])
        parts: list[bytes] = []
        at = self._head_end
        while True:
            line_end = self._data.find(b"\r\n", at)
            size = int(self._data[at:line_end], 16)
            if not size:
                return b"".join(parts)
            parts.append(bytes(self._data[line_end + 2 : line_end + 2 + size]))
            at = line_end + 2 + size + 2

    def document(self) -> Mapping[str, Any]:
        """Return the parsed body, empty where there is none."""
        content = self.body()
        document: Mapping[str, Any] = json.loads(content) if content else {}
        return document

    @property
    def size_bytes(self) -> int:
        """What has arrived so far, head included."""
        return len(self._data)

    @property
    def to_repeat(self) -> bool:
        """Whether the service asks to send the same again: somebody else was quicker."""
        return self.status == 409 and _CONFLICT in self._data

    def check(self, request: bytes) -> None:
        """Raise unless the request succeeded."""
        if not 200 <= self.status < 300:
            line = request.partition(b"\r\n")[0].decode()[:200]
            raise BenchError(f"{line}: {self.status} {self.body()[:500].decode(errors='replace')}")


class Connection:
    """One connection that is kept alive, one request at a time."""

    def __init__(self, address: Address, *, limit_s: float = 600.0) -> None:
        self._address = address
        self._limit_s = limit_s
        self._socket: socket.socket | None = None

    def exchange(self, request: bytes) -> Answer:
        """Send a request and return its answer, whatever its status; TimeLimit after `limit_s`."""
        until = time.monotonic() + self._limit_s
        connected = self._socket or connect(self._address)
        self._socket = connected
        answer = Answer()
        try:
            connected.settimeout(self._limit_s)
            connected.sendall(request)
            while not answer.feed(received := connected.recv(_RECEIVE_BYTES)):
                if not received:
                    raise BenchError(f"{request[:200].decode(errors='replace')}: the server hung up")
                connected.settimeout(max(until - time.monotonic(), 0.001))
        except TimeoutError:
            self.close()
            raise TimeLimit(f"no answer in {self._limit_s:g} s") from None
        except OSError as error:
            self.close()
            raise BenchError(f"{request[:100].decode(errors='replace')}: {error}") from error
        if answer.closes or not self._address.keeps_alive:
            self.close()
        return answer

    def ask(self, method: str, target: str, body: object = None) -> Mapping[str, Any]:
        """Send one request that must succeed, and return the parsed answer."""
        request = prepare(method, target, body)
        answer = self.exchange(request)
        answer.check(request)
        return answer.document()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def connect(address: Address) -> socket.socket:
    """Return a connected socket that sends at once."""
    connected = socket.create_connection((address.host, address.port), timeout=10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected
