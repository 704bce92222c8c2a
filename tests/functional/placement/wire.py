"""Bytes on a connection, for what no HTTP client would send."""

import http.client
import json
import select
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 30.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def detail(self) -> str:
        """Return what a refusal says; it has to be one, with an error document."""
        assert 400 <= self.status < 500, self
        error: dict[str, Any] = json.loads(self.body)["errors"][0]
        assert error["status"] == self.status
        return str(error["detail"])


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = socket.create_connection((address.hostname, address.port or 80), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def talk(url: str, *pieces: bytes | Iterable[bytes]) -> Answer:
    """Send pieces, endless ones too, until there is an answer; return it."""
    with connect(url) as connection:
        for piece in pieces:
            for part in [piece] if isinstance(piece, bytes) else piece:
                if not _send(connection, part):
                    return read_answer(connection)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side hangs up, having said no more; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def _send(connection: socket.socket, data: bytes) -> bool:
    """Send; False where the other side has said something meanwhile."""
    while data:
        readable, _, _ = select.select([connection], [connection], [], TIMEOUT_S)
        if readable:
            return False
        try:
            sent = connection.send(data)
        except ConnectionError:
            return False
        data = data[sent:]
    return True


def request(
    method: str, target: str | bytes, body: bytes = b"", *, version: str = "placement 1.39", **headers: str | int
) -> bytes:
    """Return the bytes of a request; headers are named with _ for -, and come on top of what any has."""
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    if body and "transfer-encoding" not in named:
        named = {"content-type": "application/json", "content-length": str(len(body)), **named}
    lines = [f"{name}: {value}".encode("latin-1") for name, value in named.items()]
    path = target.encode() if isinstance(target, str) else target
    start = method.encode() + b" " + path + b" HTTP/1.1"
    common = [b"host: placement", b"openstack-api-version: " + version.encode()]
    return b"\r\n".join([start, *common, *lines, b"", b""]) + body
