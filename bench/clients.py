"""Several clients at once: one process, one thread, as many kept-alive connections as there are clients.

Eight processes with blocking sockets get the same number of answers out of a server and take half as much processor
time again, which on a machine of two cores is the server's.
"""

import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.wire import Address, Answer, BenchError, connect

_RECEIVE_BYTES = 1 << 16
# A service that answers nothing for so long is not slow but gone.
_SILENCE_S = 120.0

Job = Sequence[bytes]
"""Prepared requests that one client sends one after another."""


class Span(NamedTuple):
    """When a request was sent, and when its answer was whole."""

    began: float
    ended: float
    request: bytes = b""


@dataclass(slots=True)
class Tally:
    """What the clients saw. `conflicts` counts requests that had to be repeated; only the last try is a span."""

    began: float
    spans: list[Span] = field(default_factory=list)
    conflicts: int = 0
    client_cpu_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """From the first request to the last answer."""
        return max(span.ended for span in self.spans) - self.began


class _Client:
    """One connection and the job it is at."""

    def __init__(self, address: Address, jobs: Iterator[Job]) -> None:
        self.address = address
        self.socket = connect(address)
        self._jobs = jobs
        self._job: Iterator[bytes] = iter(())
        self.request = b""
        self.began = 0.0
        self.answer = Answer()

    def send_next(self, *, start_jobs: bool) -> bool:
        """Send the next request, if there is one left to send."""
        request = next(self._job, None)
        while request is None and start_jobs:
            job = next(self._jobs, None)
            if job is None:
                return False
            self._job = iter(job)
            request = next(self._job, None)
        if request is None:
            return False
        self.request = request
        self.began = time.monotonic()
        self.send()
        return True

    def send(self) -> None:
        self.answer = Answer()
        self.socket.sendall(self.request)


def run_clients(address: Address, jobs: Iterator[Job], *, clients: int, seconds: float | None = None) -> Tally:
    """Let the clients share out the jobs: until there are none, or for `seconds` (jobs begun are then ended).

    Every answer must be a success. A claim that lost a race (`placement.concurrent_update`) is sent again, as Nova
    does; the time of all its tries counts.
    """
    cpu_before_s = time.process_time()
    selector = selectors.EpollSelector()
    everyone = [_Client(address, jobs) for _ in range(clients)]
    tally = Tally(began=time.monotonic())
    until = float("inf") if seconds is None else tally.began + seconds
    try:
        busy = 0
        for client in everyone:
            if client.send_next(start_jobs=True):
                selector.register(client.socket, selectors.EVENT_READ, client)
                busy += 1
        while busy:
            ready = selector.select(_SILENCE_S)
            if not ready:
                raise BenchError(f"no answer in {_SILENCE_S:g} s: {everyone[0].request[:200].decode()}")
            for key, _ in ready:
                busy -= not _receive(key.data, selector, tally, until)
    except OSError as error:
        raise BenchError(f"the service at port {address.port} has gone: {error}") from error
    finally:
        selector.close()
        for client in everyone:
            client.socket.close()
    tally.client_cpu_s = time.process_time() - cpu_before_s
    return tally


def _receive(client: _Client, selector: selectors.BaseSelector, tally: Tally, until: float) -> bool:
    """Take in what has come for a client; tell whether it still waits for something."""
    received = client.socket.recv(_RECEIVE_BYTES)
    if not received:
        raise BenchError(f"{client.request[:200].decode(errors='replace')}: the server hung up")
    if not client.answer.feed(received):
        return True
    answer = client.answer
    if answer.closes or not client.address.keeps_alive:
        selector.unregister(client.socket)
        client.socket.close()
        client.socket = connect(client.address)
        selector.register(client.socket, selectors.EVENT_READ, client)
    if answer.to_repeat:
        tally.conflicts += 1
        client.send()
        return True
    now = time.monotonic()
    answer.check(client.request)
    tally.spans.append(Span(client.began, now, client.request))
    return client.send_next(start_jobs=now < until)
