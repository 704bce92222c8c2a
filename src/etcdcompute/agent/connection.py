"""libvirt's connection: its event loop, and reconnecting when libvirtd restarts or hangs.

A dead daemon is noticed by the socket closing, a hung one by keepalive (5 s x 3); either ends every call that waits.
Events only name domains: whoever gets one looks at the domain itself. What happened while there was no connection is
lost, so each new connection is announced, and the agent looks at everything.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from etcdcompute.agent.errors import DomainRefused, LibvirtUnavailable
from etcdcompute.agent.hypervisor import Connected, DomainChanged
from etcdcompute.agent.outage import Outage
from etcdcompute.errors import InvalidInput

_LOG = logging.getLogger(__name__)

_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_COUNT = 3
_RETRY_FIRST_S = 0.25
_RETRY_LIMIT_S = 5.0
_JOIN_S = 5.0


def load_libvirt() -> Any:
    """Import libvirt's binding; it is not on every machine that uses this package."""
    try:
        import libvirt
    except ImportError as error:
        raise InvalidInput(
            f"the Python binding of libvirt is missing ({error}): install python3-libvirt, or etcdcompute[agent]"
        ) from error
    return libvirt


class _EventLoop:
    """libvirt's event loop, of which a process has one: a thread runs it while anybody needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._timer = -1
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def acquire(self, libvirt: Any) -> None:
        """Have the loop running; must come before the first connection is made."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            if self._timer < 0:
                libvirt.virEventRegisterDefaultImpl()
                # Never fires by itself: setting it to zero wakes the loop so that it sees the stop.
                self._timer = libvirt.virEventAddTimeout(-1, self._fired, libvirt)
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, args=(libvirt,), name="libvirt-events", daemon=True)
            self._thread.start()

    def release(self, libvirt: Any) -> None:
        """End the loop when nobody needs it any more."""
        with self._lock:
            self._users -= 1
            thread = self._thread
            if self._users or thread is None:
                return
            self._stop.set()
            libvirt.virEventUpdateTimeout(self._timer, 0)
            thread.join(_JOIN_S)

    def _run(self, libvirt: Any) -> None:
        while not self._stop.is_set():
            try:
                libvirt.virEventRunDefaultImpl()
            except libvirt.libvirtError as error:
                _LOG.warning("libvirt's event loop: %s", error)
                self._stop.wait(1.0)

    def _fired(self, timer: int, libvirt: Any) -> None:
        libvirt.virEventUpdateTimeout(timer, -1)


_EVENT_LOOP = _EventLoop()


class Connection:
    """A connection to one libvirtd that is made anew whenever it is lost. Safe to use from any thread."""

    def __init__(self, uri: str, *, outage: Outage, on_connected: Connected, on_domain_changed: DomainChanged) -> None:
        self.libvirt = load_libvirt()
        self._uri = uri
        self._outage = outage
        self._on_connected = on_connected
        self._on_domain_changed = on_domain_changed
        self._lock = threading.Lock()
        self._current: Any = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_connected, name="libvirt-connection", daemon=True)

    def open(self) -> None:
        """Begin to connect, and to reconnect; returns at once."""
        # The binding prints every error to stderr unless told otherwise; ours are raised.
        self.libvirt.registerErrorHandler(lambda _context, _error: None, None)
        _EVENT_LOOP.acquire(self.libvirt)
        self._thread.start()

    def close(self) -> None:
        """Let go of libvirtd."""
        self._stop.set()
        self._wake.set()
        self._thread.join(_JOIN_S)
        self._drop(self._current)
        _EVENT_LOOP.release(self.libvirt)

    @contextlib.contextmanager
    def calls(self) -> Iterator[Any]:
        """Give the connection for some calls; LibvirtUnavailable where there is none or it is lost meanwhile.

        Errors that libvirtd itself answered and nobody dealt with become DomainRefused.
        """
        with self._lock:
            current = self._current
        if current is None:
            raise LibvirtUnavailable(f"libvirt at {self._uri} cannot be reached: {self._outage.reason}")
        try:
            yield current
        except self.libvirt.libvirtError as error:
            if not self._is_loss(current, error):
                raise DomainRefused(f"libvirt: {' '.join(str(error).split())}") from error
            self._outage.begin(error)
            self._drop(current)
            self._wake.set()
            raise LibvirtUnavailable(f"libvirt at {self._uri} does not answer any more: {error}") from error

    def _is_loss(self, current: Any, error: Any) -> bool:
        libvirt = self.libvirt
        if error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
            return True
        if error.get_error_code() in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN):
            return True
        try:
            return not current.isAlive()
        except libvirt.libvirtError:
            return True

    def _drop(self, dropped: Any) -> None:
        """Forget a connection unless it has already been replaced."""
        with self._lock:
            if dropped is None or self._current is not dropped:
                return
            self._current = None
        with contextlib.suppress(self.libvirt.libvirtError):
            dropped.close()

    def _keep_connected(self) -> None:
        pause_s = _RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                connection = self._connect()
            except self.libvirt.libvirtError as error:
                self._outage.begin(error)
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LIMIT_S)
                continue
            pause_s = _RETRY_FIRST_S
            self._wake.clear()
            with self._lock:
                self._current = connection
            self._outage.end()
            _notify(self._on_connected)
            self._wake.wait()
            self._drop(connection)

    def _connect(self) -> Any:
        connection = self.libvirt.open(self._uri)
        # Some transports have no keepalive; a closed socket is noticed all the same.
        with contextlib.suppress(self.libvirt.libvirtError):
            connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
        connection.registerCloseCallback(self._closed, connection)
        connection.domainEventRegisterAny(None, self.libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None)
        return connection

    def _closed(self, _connection: Any, reason: int, connection: Any) -> None:
        # In the event loop's thread: nothing here may call libvirt.
        with self._lock:
            if self._current is not connection:
                return
        self._outage.begin(f"the connection was closed (reason {reason})")
        self._wake.set()

    def _lifecycle(self, _connection: Any, domain: Any, _event: int, _detail: int, _opaque: Any) -> None:
        uuid = domain.UUIDString()
        _notify(lambda: self._on_domain_changed(uuid))


def _notify(listener: Callable[[], None]) -> None:
    """Call a listener; its bug must not end libvirt's threads."""
    try:
        listener()
    except Exception:  # noqa: BLE001 - see above
        _LOG.exception("BUG: a listener to libvirt failed")
