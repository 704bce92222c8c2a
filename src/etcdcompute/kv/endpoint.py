"""One etcd member as this process reaches it: its address, its channel, and whether it is known to answer."""

import ipaddress
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from etcdcompute.errors import InvalidInput
from etcdcompute.kv.rpc import Method

_DEFAULT_PORT = 2379

_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A stopped or unreachable server is noticed 10 s + 5 s after it went silent. etcd hangs up on clients that ping
    # more often than every 5 s, and on those that ping without an open call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Current gRPC waits this long (by default a minute) for a ping's answer, whatever the keepalive's timeout says.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted etcd is back within a second; gRPC's own backoff goes up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # in spite of its name the time limit of one connection attempt
    # Pages and events may be larger than gRPC's 4 MiB; etcd bounds what it takes by itself.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Whether a request may be sent again is decided in `connection`, which knows what it means.
    ("grpc.enable_retries", 0),
    # etcd is never behind a web proxy, and clients in one process share no connections.
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files (PEM) for https endpoints: who signs etcd's certificates, and our own certificate where etcd asks for one.

    Without `ca_file` the certificate authorities that gRPC brings are trusted.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def channel_credentials(self) -> Any:
        """Read the files and return gRPC's credentials; InvalidInput names a file that cannot be used."""
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidInput("etcd: a client certificate needs both cert_file and key_file, or neither")
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca_file, "ca_file"),
            private_key=_read(self.key_file, "key_file"),
            certificate_chain=_read(self.cert_file, "cert_file"),
        )


def _read(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"etcd: {what} {path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise InvalidInput(f"etcd: {what} {path} is not a PEM file")
    return content


class Endpoint:
    """One member. `known_up` is set by a call that succeeded and cleared by one that failed on the way."""

    def __init__(self, url: str, tls: Tls | None) -> None:
        self.url, self.target, self.secure, self.loopback = _parse(url)
        self._tls = tls or Tls()
        self._credentials = self._tls.channel_credentials() if self.secure else None
        self._lock = threading.Lock()
        self._channel: Any = None
        self._calls: dict[str, Any] = {}
        self._closed = False
        self.known_up = False
        self.version: tuple[int, ...] = ()

    def unary(self, method: Method) -> Any:
        """Return the callable for a method of one request and one answer."""
        return self._callable(method, "unary_unary")

    def stream(self, method: Method) -> Any:
        """Return the callable for a method that streams in both directions."""
        return self._callable(method, "stream_stream")

    def _callable(self, method: Method, shape: str) -> Any:
        with self._lock:
            if self._channel is None:
                if self._closed:
                    raise ValueError("the endpoint is closed")
                self._channel = self._open()
            if method.path not in self._calls:
                make = getattr(self._channel, shape)
                self._calls[method.path] = make(
                    method.path, request_serializer=method.encode, response_deserializer=method.decode
                )
            return self._calls[method.path]

    def _open(self) -> Any:
        if self._credentials is not None:
            return grpc.secure_channel(self.target, self._credentials, options=_CHANNEL_OPTIONS)
        return grpc.insecure_channel(self.target, options=_CHANNEL_OPTIONS)

    def close(self) -> None:
        """Hang up; calls under way end as cancelled."""
        with self._lock:
            self._closed = True
            channel, self._channel = self._channel, None
            self._calls.clear()
        if channel is not None:
            channel.close()


def _parse(url: str) -> tuple[str, str, bool, bool]:
    """Return (url, gRPC target, whether TLS, whether on this machine)."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if host is None or parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query:
        raise InvalidInput(f"etcd endpoint {url!r} is not of the form http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("etcd endpoint: user and password belong in the credentials, not in the address")
    shown = f"[{host}]" if ":" in host else host
    return (
        f"{parts.scheme}://{shown}:{port}",
        f"{shown}:{port}",
        parts.scheme == "https",
        _is_loopback(host),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
