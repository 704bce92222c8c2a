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
from etcdcompute.deadline import Deadline
from etcdcompute.errors import InvalidInput

_LOG = logging.getLogger(__name__)

_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_COUNT = 3
_RETRY_FIRST_S = 0.25
_RETRY_LIMIT_S = 5.0
_JOIN_S = 5.0
_RETIRE_S = 5.0
_GRACE_S = 0.5


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


class _Link:
    """One connection to libvirtd. `reported` is set when libvirt has said that it is closed."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.reported = threading.Event()


class _Session:
    """The connections that were made together: one for events, and one for each call at a time.

    libvirt 9.0 crashes, or never returns, if a connection is closed under several calls at once; one call at a time
    it gets right.
    """

    def __init__(self, events: _Link, links: list[_Link]) -> None:
        self.lost = threading.Event()
        self.links = [events, *links]
        self._idle = list(links)
        self._size = len(links)
        self._changed = threading.Condition()

    def borrow(self) -> _Link | None:
        """Take a connection, waiting for one to be free; None once the session is lost."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self.lost.is_set())
            return None if self.lost.is_set() else self._idle.pop()

    def give_back(self, link: _Link) -> None:
        """End a call."""
        with self._changed:
            self._idle.append(link)
            self._changed.notify_all()

    def lose(self) -> None:
        """Let nobody begin a call any more."""
        with self._changed:
            self.lost.set()
            self._changed.notify_all()

    def wait_unused(self, timeout_s: float) -> bool:
        """Wait until no thread is in a call; tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._idle) == self._size, timeout_s)


class Connection:
    """The connections to one libvirtd, made anew whenever one is lost. Safe to use from any thread.

    `parallel` is how many threads may be in calls at the same time.
    """

    def __init__(
        self, uri: str, *, outage: Outage, on_connected: Connected, on_domain_changed: DomainChanged, parallel: int
    ) -> None:
        self.libvirt = load_libvirt()
        self._uri = uri
        self._outage = outage
        self._on_connected = on_connected
        self._on_domain_changed = on_domain_changed
        self._parallel = parallel
        self._lock = threading.Lock()
        self._current: _Session | None = None
        # Never closed, so never to be collected either.
        self._abandoned: list[_Session] = []
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
        with self._lock:
            session = self._current
        if session is not None:
            session.lose()
        self._thread.join(_JOIN_S)
        _EVENT_LOOP.release(self.libvirt)

    @contextlib.contextmanager
    def calls(self) -> Iterator[Any]:
        """Give a connection for some calls; LibvirtUnavailable where there is none or it is lost meanwhile.

        Errors that libvirtd itself answered and nobody dealt with become DomainRefused. Not to be nested.
        """
        with self._lock:
            session = self._current
        link = None if session is None else session.borrow()
        if session is None or link is None:
            raise LibvirtUnavailable(f"libvirt at {self._uri} cannot be reached: {self._outage.reason}")
        try:
            yield link.handle
        except self.libvirt.libvirtError as error:
            if not self._is_loss(session, link, error):
                raise DomainRefused(f"libvirt: {' '.join(str(error).split())}") from error
            self._lose(session, error)
            raise LibvirtUnavailable(f"libvirt at {self._uri} does not answer any more: {error}") from error
        finally:
            session.give_back(link)

    def _is_loss(self, session: _Session, link: _Link, error: Any) -> bool:
        libvirt = self.libvirt
        if session.lost.is_set():
            return True
        if error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
            return True
        if error.get_error_code() in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN):
            return True
        try:
            return not link.handle.isAlive()
        except libvirt.libvirtError:
            return True

    def _lose(self, session: _Session, reason: object) -> None:
        """Let nobody begin a call on it any more, and have the connection's thread make another."""
        with self._lock:
            if self._current is session:
                self._current = None
                self._outage.begin(reason)
        session.lose()

    def _keep_connected(self) -> None:
        pause_s = _RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                session = self._connect()
            except self.libvirt.libvirtError as error:
                self._outage.begin(error)
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LIMIT_S)
                continue
            pause_s = _RETRY_FIRST_S
            with self._lock:
                self._current = session
            self._outage.end()
            _notify(self._on_connected)
            if self._stop.is_set():
                session.lose()
            session.lost.wait()
            self._retire(session)

    def _retire(self, session: _Session) -> None:
        """Close connections when nobody can be using them any more.

        libvirt 9.0 also crashes if a connection goes while its own event loop is still taking it down (after a
        keepalive timeout): what cannot be closed safely is left open.
        """
        with self._lock:
            if self._current is session:
                self._current = None
        if not session.wait_unused(_RETIRE_S):
            _LOG.warning("a connection to libvirt with a call that does not end is left open")
            self._abandoned.append(session)
            return
        if not self._stop.is_set():
            # Lost rather than given up: its end is reported by the event loop, which then has little left to do.
            deadline = Deadline.after(_RETIRE_S)
            for link in session.links:
                link.reported.wait(deadline.remaining_s)
            self._stop.wait(_GRACE_S)
        _close(self.libvirt, session.links)

    def _connect(self) -> _Session:
        libvirt = self.libvirt
        links: list[_Link] = []
        try:
            for _ in range(self._parallel + 1):
                links.append(_Link(libvirt.open(self._uri)))  # noqa: PERF401 - those made are closed on an error
            session = _Session(links[0], links[1:])
            for link in links:
                # Some transports have no keepalive; a closed socket is noticed all the same.
                with contextlib.suppress(libvirt.libvirtError):
                    link.handle.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
                link.handle.registerCloseCallback(self._closed, (session, link))
            links[0].handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None)
        except libvirt.libvirtError:
            _close(libvirt, links)
            raise
        return session

    def _closed(self, _connection: Any, reason: int, which: tuple[_Session, _Link]) -> None:
        # In the event loop's thread: nothing here may call libvirt.
        session, link = which
        link.reported.set()
        self._lose(session, f"libvirtd closed the connection, or does not answer (reason {reason})")

    def _lifecycle(self, _connection: Any, domain: Any, _event: int, _detail: int, _opaque: Any) -> None:
        uuid = domain.UUIDString()
        _notify(lambda: self._on_domain_changed(uuid))


def _close(libvirt: Any, links: list[_Link]) -> None:
    for link in links:
        with contextlib.suppress(libvirt.libvirtError):
            link.handle.close()


def _notify(listener: Callable[[], None]) -> None:
    """Call a listener; its bug must not end libvirt's threads."""
    try:
        listener()
    except Exception:  # noqa: BLE001 - see above
        _LOG.exception("BUG: a listener to libvirt failed")
