"""`etcdcompute placement serve`: the service from its parts."""

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from urllib.parse import unquote, urlsplit

import uvicorn
from starlette.types import ASGIApp

from etcdcompute.errors import InvalidInput, Unavailable
from etcdcompute.kv.client import Client, Credentials
from etcdcompute.placement.api.access import Everybody, Gate, NamedByToken, TokenHolders
from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.api.cors import CrossOrigin, check_origins
from etcdcompute.placement.api.policy import Policy
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.etcd import EtcdJournal
from etcdcompute.placement.graph.journal import Journal, MemoryJournal
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.protocol import PlacementProtocol

_LOG = logging.getLogger(__name__)
_GRACE_S = 1
# How often the time in the answers' headers moves on.
_TICK_S = 1.0
# An answer with many candidates makes tens of thousands of objects for a moment. By Python's own thresholds that makes
# it look through the whole graph for garbage, which takes longer than the answer.
GARBAGE_THRESHOLDS = (50_000, 10, 10)
Connect = Callable[[], Client]


def serve(
    *,
    graph: str,
    listen: str,
    auth: str | None = None,
    token: str | None = None,
    policy: str | None = None,
    cors_origins: Collection[str] = (),
    stop: threading.Event | None = None,
    connect: Connect | None = None,
    store: GraphStore | None = None,
    ready: Callable[[str, int], None] | None = None,
) -> None:
    """Serve the API until SIGTERM, SIGINT or `stop`.

    `graph` is memory://, etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…] or neo4j://USER:PASSWORD@HOST:PORT; empty means
    the etcd that `connect` returns a client of; a `store` is served instead. `listen` is HOST:PORT, with port 0 for any
    free one; `ready` is told the actual address.
    `auth` is none, token or noauth2; None means token where one is given, and otherwise none, on loopback only.
    `policy` is what noauth2 holds callers to. Pages of `cors_origins` may use the API from a browser. InvalidInput says
    what is wrong with any of these, Unavailable that the address cannot be listened on.
    """
    host, port = parse_listen(listen)
    gate = choose_gate(host, auth=auth, token=token, policy=policy)
    check_origins(cors_origins)
    store = store or open_store(graph, connect)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    app = PlacementApp(store, gate=gate)
    try:
        with _listen(host, port) as listener:
            store.start()
            address = listener.getsockname()
            _LOG.info(
                "serving placement on http://%s:%d from %s",
                address[0],
                address[1],
                _without_secret(graph) or "the configured etcd",
            )
            if ready is not None:
                ready(address[0], address[1])
            asgi = CrossOrigin(app, cors_origins) if cors_origins else app
            _run(asgi, listener, stop or threading.Event(), app.stop)
    finally:
        app.close()
        store.close()
    _LOG.info("placement has stopped")


def parse_listen(listen: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; IPv6 hosts in brackets."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"listen: {listen!r} is not HOST:PORT; for example 127.0.0.1:8778")
    return host, int(port)


def choose_gate(host: str, *, auth: str | None, token: str | None, policy: str | None) -> Gate:
    """Return who is let in; other machines get in without proof only where that was asked for."""
    if auth not in (None, "", "none", "token", "noauth2"):
        raise InvalidInput(f"auth: {auth!r} is not known; it is none, token or noauth2")
    if policy and auth != "noauth2":
        raise InvalidInput("policy: only noauth2 tells callers and their roles apart; say --auth noauth2 or no policy")
    if auth == "noauth2":
        if not _is_loopback(host):
            _LOG.warning("auth: noauth2 believes whoever can reach %s to be who they say, administrators too", host)
        return NamedByToken(Policy(policy or "secure"))
    if auth == "none":
        return Everybody()
    if token:
        return TokenHolders(token)
    if auth == "token":
        raise InvalidInput("auth: token is asked for, but no token is given; set placement.token")
    if not _is_loopback(host):
        raise InvalidInput(
            f"listen: {host} can be reached by other machines and no token is given; "
            "set placement.token, or say --auth none if everybody may write"
        )
    return Everybody()


def open_store(graph: str, connect: Connect | None = None) -> GraphStore:
    """Return the store that a URL names; nothing is connected yet."""
    if graph.startswith("neo4j://"):
        return _open_neo4j(graph)
    return EmbeddedStore(_open_journal(graph, connect))


def _open_neo4j(graph: str) -> GraphStore:
    try:
        from etcdcompute.placement.graph.neo4j.store import Neo4jStore
    except ModuleNotFoundError as error:
        if error.name != "neo4j":
            raise
        raise InvalidInput("graph: a graph in Neo4j needs its driver: pip install 'etcdcompute[neo4j]'") from None
    return Neo4jStore(Address.parse(graph))


def _open_journal(graph: str, connect: Connect | None) -> Journal:
    if not graph and connect is not None:
        return EtcdJournal(connect())
    scheme, separator, rest = graph.partition("://")
    if separator and scheme == "memory" and rest in ("", "/"):
        return MemoryJournal()
    if separator and scheme == "etcd" and rest:
        userinfo, _, hosts = rest.rstrip("/").rpartition("@")
        user, _, password = userinfo.partition(":")
        endpoints = tuple(f"http://{_check_host(host, graph)}" for host in hosts.split(","))
        credentials = Credentials(unquote(user), unquote(password)) if user else None
        return EtcdJournal(Client(endpoints, credentials=credentials))
    raise InvalidInput(
        f"graph: {_without_secret(graph)!r} names no store; it is memory://, etcd://HOST:PORT[,HOST:PORT…] or "
        "neo4j://USER:PASSWORD@HOST:PORT"
    )


def _check_host(host: str, graph: str) -> str:
    try:
        parts = urlsplit(f"http://{host}")
        if parts.hostname and parts.port and not parts.path:
            return host
    except ValueError:
        pass
    raise InvalidInput(f"graph: {host!r} in {_without_secret(graph)!r} is not HOST:PORT")


def _without_secret(graph: str) -> str:
    scheme, separator, rest = graph.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise Unavailable(f"listen: {host}:{port} cannot be listened on: {error.strerror or error}") from error
    with listener:
        # Accepted sockets inherit it. asyncio sets it only on sockets that were made with an explicit protocol; without
        # it Nagle's algorithm and the client's delayed acknowledgement cost every answer with a body 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


class _Server(uvicorn.Server):
    """A server that has streams end before it waits for all answers to end, however it was told to stop."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until told to stop. uvicorn looks ten times a second whether it is; its clock wants only one."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)

    def ask_to_stop(self) -> None:
        """Have it stop; from any thread, or a signal's handler."""
        self.should_exit = True
        if self._loop is not None:
            # RuntimeError: it has ended already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._told.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a signal."""
        super().handle_exit(sig, frame)
        self.ask_to_stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._end_streams()
        await super().shutdown(sockets)


def _run(app: ASGIApp, listener: socket.socket, stop: threading.Event, end_streams: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=75,
        http=PlacementProtocol,
        loop="uvloop",
    )
    server = _Server(config, end_streams)

    def on_signal(*_: object) -> None:
        server.ask_to_stop()

    in_main = threading.current_thread() is threading.main_thread()
    # uvicorn raises the signal again when it has stopped; to have been told to stop is not a failure.
    before = {number: signal.signal(number, on_signal) for number in _SIGNALS} if in_main else {}

    def wait_to_be_stopped() -> None:
        stop.wait()
        server.ask_to_stop()

    watcher = threading.Thread(target=wait_to_be_stopped, name="placement-stop", daemon=True)
    watcher.start()
    try:
        server.run(sockets=[listener])
    finally:
        stop.set()
        watcher.join()
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
