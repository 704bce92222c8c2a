"""Calls to whichever member answers: failover, authentication, time limits, and what a failure means.

The rule for repeating a call: a request that may change something goes out at most once. As long as it has surely
not been sent (no connection, no leader, a refused token) the next member gets it; once it may have been, the caller
learns `OutcomeUnknown`. Reads go round the members until one answers or the deadline passes. For that distinction a
member that is not known to be up is asked for its status first, so that a request is only sent over a connection
that stands.

All calls carry `hasleader`, so that a member that is cut off from its leader says so instead of waiting.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from etcdcompute.deadline import Deadline
from etcdcompute.errors import AccessDenied, InvalidInput, OutcomeUnknown, Stopped, Unavailable
from etcdcompute.kv import rpc
from etcdcompute.kv.endpoint import Endpoint, Tls
from etcdcompute.kv.errors import Failure, Kind, failure_of

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_HAS_LEADER = ("hasleader", "true")
_STOP_POLL_S = 0.1
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MOST_S = 0.5
_REAUTHENTICATIONS = 2
# The least time a member gets to answer before a read goes to the next one.
_ATTEMPT_LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password of etcd's own authentication."""

    username: str
    password: str = field(repr=False)


class _Token:
    """The token all calls share. It is renewed by whoever finds it refused, once."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._value: str | None = None

    def value(self, authenticate: Callable[[Credentials], str], deadline: Deadline) -> str:
        """Return the current token; empty without credentials, or where etcd has authentication switched off."""
        if self._credentials is None:
            return ""
        if not self._lock.acquire(timeout=deadline.remaining_s):
            raise Failure(Kind.NOT_SENT, "another thread has been authenticating for too long")
        try:
            if self._value is None:
                self._value = authenticate(self._credentials)
            return self._value
        finally:
            self._lock.release()

    @property
    def known(self) -> str | None:
        """The current token, as `value` returns it; None where it has to be asked for first."""
        return "" if self._credentials is None else self._value

    def refused(self, value: str) -> bool:
        """Drop the token if it is still the current one; tell whether there is any way to get another."""
        with self._lock:
            if self._value == value:
                self._value = None
        return self._credentials is not None


class Connection:
    """The members of one etcd cluster. Safe to use from any thread."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        credentials: Credentials | None,
        tls: Tls | None,
        request_timeout_s: float,
        allow_plaintext_password: bool,
    ) -> None:
        if not endpoints:
            raise InvalidInput("etcd: at least one endpoint is needed")
        if request_timeout_s <= 0:
            raise InvalidInput(f"etcd: request_timeout_s must be above 0, not {request_timeout_s}")
        self.request_timeout_s = request_timeout_s
        self._members = [Endpoint(url, tls) for url in endpoints]
        if credentials is not None and not allow_plaintext_password:
            for member in self._members:
                if not member.secure and not member.loopback:
                    raise InvalidInput(
                        f"etcd: a password is not sent unencrypted to {member.url}: use https, or set "
                        "allow_plaintext_password"
                    )
        self._token = _Token(credentials)
        self._lock = threading.Lock()
        self._current = 0
        self._threads: set[threading.Thread] = set()
        self.closed = threading.Event()

    # -- calls ---------------------------------------------------------------------------------------------------

    def deadline(self) -> Deadline:
        """Return the deadline of a call whose caller sets none."""
        return Deadline.after(self.request_timeout_s)

    def read(self, method: rpc.Method, request: Any, deadline: Deadline, stop: threading.Event | None = None) -> Any:
        """Call a method that may be repeated without harm; Unavailable when no member answers in time."""
        return self._call(method, request, deadline, stop, resend=True)

    def begin_read(
        self,
        method: rpc.Method,
        request: Any,
        deadline: Deadline,
        told: Callable[[], None],
        decode: Callable[[Any], _T],
    ) -> "BegunRead[_T]":
        """Send what `read` sends, and go on. `told` is called, by any thread, when there is no more to wait for.

        `decode` makes of etcd's answer what is wanted of it.
        """
        member = self.member()
        token = self._token.known
        timeout_s = self._attempt_s(deadline, resend=True)
        call = None
        if member.known_up and token is not None and timeout_s > 0 and not self.closed.is_set():
            # ValueError: the channel was closed under our hands.
            with contextlib.suppress(grpc.RpcError, ValueError):
                call = member.unary(method).future(request, timeout=timeout_s, metadata=self._metadata(token))
        if call is None:
            told()
        else:
            call.add_done_callback(lambda _: told())
        return BegunRead(
            call,
            lambda: self.read(method, request, deadline),
            lambda detail: self.failed(member, detail),
            decode,
        )

    def write(self, method: rpc.Method, request: Any, deadline: Deadline) -> Any:
        """Call a method that must not be repeated: Unavailable if not sent, OutcomeUnknown if it may have been."""
        return self._call(method, request, deadline, None, resend=False)

    def _call(
        self, method: rpc.Method, request: Any, deadline: Deadline, stop: threading.Event | None, *, resend: bool
    ) -> Any:
        attempt = 0
        refused_tokens = 0
        while True:
            self._check_open(stop)
            member = self.member()
            token = ""
            sent = False
            try:
                self._ensure_up(member, self._attempt_s(deadline, resend=True), stop)
                token = self._token_value(member, deadline, stop)
                sent = True
                timeout_s = self._attempt_s(deadline, resend=resend)
                return self._invoke(member, method, request, timeout_s, stop, token)
            except Failure as failure:
                last = failure
            if last.kind is Kind.TOKEN:
                refused_tokens += 1
                if not self._token.refused(token) or refused_tokens > _REAUTHENTICATIONS:
                    raise AccessDenied(f"etcd at {member.url} wants a user: {last.detail}")
                continue
            if last.kind not in (Kind.NOT_SENT, Kind.UNANSWERED):
                raise last.error or last
            self.failed(member, last.detail)
            if last.kind is Kind.UNANSWERED and sent and not resend:
                raise OutcomeUnknown(f"etcd at {member.url} did not answer a request that was sent: {last.detail}")
            attempt += 1
            self._pause(attempt, deadline, stop)
            if deadline.expired:
                raise Unavailable(f"no etcd of {self} answers: {last.detail}")

    def _attempt_s(self, deadline: Deadline, *, resend: bool) -> float:
        """Return how long one member gets: all the time if nobody else can be asked, else half of what is left."""
        remaining_s = deadline.remaining_s
        if not resend or len(self._members) == 1:
            return remaining_s
        return min(remaining_s, max(remaining_s / 2, _ATTEMPT_LEAST_S))

    def _pause(self, attempt: int, deadline: Deadline, stop: threading.Event | None) -> None:
        """Wait between attempts, but not before every member was asked once."""
        rounds = attempt // len(self._members)
        if not rounds or attempt % len(self._members):
            return
        pause_s = min(_BACKOFF_FIRST_S * 2 ** (rounds - 1), _BACKOFF_MOST_S)
        pause_s = min(pause_s * random.uniform(0.7, 1.3), deadline.remaining_s)  # noqa: S311  jitter
        (stop or self.closed).wait(pause_s)

    def _invoke(
        self,
        member: Endpoint,
        method: rpc.Method,
        request: Any,
        timeout_s: float,
        stop: threading.Event | None,
        token: str,
    ) -> Any:
        if timeout_s <= 0:
            raise Unavailable(f"no time was left to ask etcd at {member.url}")
        try:
            call = member.unary(method)
            metadata = self._metadata(token)
            if stop is None:
                answer = call(request, timeout=timeout_s, metadata=metadata)
            else:
                answer = _interruptible(call.future(request, timeout=timeout_s, metadata=metadata), stop)
        except grpc.RpcError as error:
            raise failure_of(error) from None
        except ValueError:
            # grpc says so when the channel was closed under our hands.
            raise Failure(Kind.NOT_SENT, "the client is closed") from None
        member.known_up = True
        return answer

    @staticmethod
    def _metadata(token: str) -> tuple[tuple[str, str], ...]:
        return (_HAS_LEADER, ("token", token)) if token else (_HAS_LEADER,)

    # -- members -------------------------------------------------------------------------------------------------

    def member(self) -> Endpoint:
        """Return the member that calls go to at the moment."""
        with self._lock:
            return self._members[self._current]

    def failed(self, member: Endpoint, detail: str) -> None:
        """Take note that a member does not answer: the next one is asked from now on."""
        with self._lock:
            if member.known_up and not self.closed.is_set():
                log.warning("etcd at %s does not answer: %s", member.url, detail)
            member.known_up = False
            if self._members[self._current] is member:
                self._current = (self._current + 1) % len(self._members)

    def _ensure_up(self, member: Endpoint, timeout_s: float, stop: threading.Event | None) -> None:
        """Ask a member that is not known to be up for its status, so that what follows meets a standing connection."""
        if member.known_up:
            return
        try:
            status = self._invoke(member, rpc.STATUS, rpc.pb.StatusRequest(), timeout_s, stop, "")
        except Failure as failure:
            if failure.kind is Kind.UNANSWERED:
                # Whatever became of the status request: what the caller wants has not been sent.
                raise Failure(Kind.NOT_SENT, failure.detail) from None
            if failure.kind is Kind.NOT_SENT:
                raise
            return  # it answers, if only to say that a status is not for everybody
        member.version = _version(str(status.version))
        if not status.leader:
            member.known_up = False
            raise Failure(Kind.NOT_SENT, "etcdserver: no leader")

    def _token_value(self, member: Endpoint, deadline: Deadline, stop: threading.Event | None) -> str:
        def authenticate(credentials: Credentials) -> str:
            request = rpc.pb.AuthenticateRequest(name=credentials.username, password=credentials.password)
            try:
                timeout_s = self._attempt_s(deadline, resend=True)
                return str(self._invoke(member, rpc.AUTHENTICATE, request, timeout_s, stop, "").token)
            except Failure as failure:
                if failure.kind is Kind.AUTH_DISABLED:
                    log.warning("etcd at %s has authentication switched off", member.url)
                    return ""
                if failure.kind is Kind.UNANSWERED:
                    raise Failure(Kind.NOT_SENT, failure.detail) from None
                raise

        return self._token.value(authenticate, deadline)

    def open_stream(
        self, method: rpc.Method, requests: Any, deadline: Deadline, stop: threading.Event
    ) -> tuple[Endpoint, Any, str]:
        """Start a streaming call at the current member; return the member, the call and the token it began with."""
        member = self.member()
        try:
            self._ensure_up(member, self._attempt_s(deadline, resend=True), stop)
            token = self._token_value(member, deadline, stop)
        except Failure as failure:
            if failure.kind is Kind.NOT_SENT:
                self.failed(member, failure.detail)
            raise
        try:
            return member, member.stream(method)(requests, metadata=self._metadata(token)), token
        except ValueError:
            raise Failure(Kind.NOT_SENT, "the client is closed") from None

    def token_refused(self, token: str) -> bool:
        """Drop a token that a stream was refused with; tell whether there is any way to get another."""
        return self._token.refused(token)

    # -- life ----------------------------------------------------------------------------------------------------

    def _check_open(self, stop: threading.Event | None) -> None:
        if stop is not None and stop.is_set():
            raise Stopped("the call ended because its caller was told to stop")
        if self.closed.is_set():
            raise Stopped("the connection to etcd is closed")

    def start_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a thread that `close` joins. It must end by itself soon after `closed` is set."""

        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            if self.closed.is_set():
                raise Stopped("the connection to etcd is closed")
            # Started before `close` can see it: a thread that has not begun cannot be joined.
            thread.start()
            self._threads.add(thread)
        return thread

    def close(self) -> None:
        """End all calls and join all threads."""
        with self._lock:
            self.closed.set()
        for member in self._members:
            member.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5.0)

    def __str__(self) -> str:
        return ", ".join(member.url for member in self._members)


class BegunRead(Generic[_T]):
    """A read that was sent, or could not be without waiting."""

    def __init__(
        self, call: Any, read: Callable[[], Any], failed: Callable[[str], None], decode: Callable[[Any], _T]
    ) -> None:
        self._call = call
        self._read = read
        self._failed = failed
        self._decode = decode

    @property
    def arrived(self) -> bool:
        """Whether the answer is there: `result` does not wait."""
        return self._call is not None and self._call.done() and self._call.code() is grpc.StatusCode.OK

    def result(self) -> _T:
        """Return the answer; where it did not come, begin again and raise what `read` does."""
        if self.arrived:
            return self._decode(self._call.result())
        if self._call is not None:
            late = self._call.cancel()
            failure = Failure(Kind.UNANSWERED, "no answer in time") if late else failure_of(self._call)
            if failure.kind in (Kind.NOT_SENT, Kind.UNANSWERED):
                # Another member is asked at once.
                self._failed(failure.detail)
        return self._decode(self._read())


def _interruptible(call: Any, stop: threading.Event) -> Any:
    """Wait for a call's answer, but not beyond `stop`."""
    while True:
        try:
            return call.result(timeout=_STOP_POLL_S)
        except grpc.FutureTimeoutError:
            if stop.is_set():
                call.cancel()
                raise Stopped("the call ended because its caller was told to stop") from None
        except grpc.FutureCancelledError:
            raise Failure(Kind.UNANSWERED, "the call was cancelled") from None


def _version(text: str) -> tuple[int, ...]:
    """Parse "3.4.23" or "3.5.0-rc.1"; empty when it is something else."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else ()
