"""A connection whose answers a test writes down; no network, no etcd."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from etcdcompute.deadline import Deadline
from etcdcompute.kv import rpc
from etcdcompute.kv.connection import Connection
from etcdcompute.kv.endpoint import Endpoint
from etcdcompute.kv.errors import Failure


class FakeCall:
    """A watch call: yields what a test puts in, until None (the server hangs up) or a cancellation."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self.requests = requests
        self.responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.cancelled = False

    def __iter__(self) -> Iterator[Any]:
        return iter(self.responses.get, None)

    def cancel(self) -> None:
        self.cancelled = True
        self.responses.put(None)


class FakeConnection(Connection):
    """`answer(method, request)` answers calls (or raises); watch calls come out of `calls` as they are opened."""

    def __init__(self, answer: Callable[[rpc.Method, Any], Any], *, version: tuple[int, ...] = (3, 4, 23)) -> None:
        super().__init__(
            ["http://127.0.0.1:1"],
            credentials=None,
            tls=None,
            request_timeout_s=2,
            allow_plaintext_password=False,
        )
        self._answer = answer
        self.member().version = version
        self.calls: queue.SimpleQueue[FakeCall] = queue.SimpleQueue()
        self.prepared: list[list[Any]] = []
        self.refused_tokens: list[str] = []
        self.can_renew_tokens = True
        self.failures: list[str] = []

    def read(self, method: rpc.Method, request: Any, deadline: Deadline, stop: threading.Event | None = None) -> Any:
        return self._answer(method, request)

    def open_stream(
        self, method: rpc.Method, requests: Any, deadline: Deadline, stop: threading.Event
    ) -> tuple[Endpoint, Any, str]:
        call = FakeCall(requests)
        for response in self.prepared.pop(0) if self.prepared else []:
            call.responses.put(response)
        self.calls.put(call)
        return self.member(), call, "token"

    def token_refused(self, token: str) -> bool:
        self.refused_tokens.append(token)
        return self.can_renew_tokens

    def failed(self, member: Endpoint, detail: str) -> None:
        self.failures.append(detail)


def header(revision: int, *, cluster_id: int = 7, raft_term: int = 2) -> Any:
    return rpc.pb.ResponseHeader(cluster_id=cluster_id, raft_term=raft_term, revision=revision)


def created(revision: int, **fields: Any) -> Any:
    return rpc.pb.WatchResponse(header=header(revision, **fields), created=True)


def puts(*revisions: int, fragment: bool = False) -> Any:
    """A response with one put a number; as the server would send it where more fragments follow."""
    response = rpc.pb.WatchResponse(header=header(max(revisions)))
    for revision in revisions:
        event = response.events.add()
        event.kv.key = b"/t/%d" % len(response.events)
        event.kv.mod_revision = revision
    response.fragment = fragment
    return response


def progress(revision: int, *, watch_id: int = 0) -> Any:
    return rpc.pb.WatchResponse(header=header(revision), watch_id=watch_id)


def cancelled(*, reason: str = "", compact_revision: int = 0, watch_id: int = 0) -> Any:
    return rpc.pb.WatchResponse(
        header=header(1),
        canceled=True,
        watch_id=watch_id,
        cancel_reason=reason,
        compact_revision=compact_revision,
    )


def listing(revision: int, *keys: str, **fields: Any) -> Any:
    response = rpc.pb.RangeResponse(header=header(revision, **fields))
    for key in keys:
        response.kvs.add(key=key.encode(), mod_revision=revision)
    return response


def always(response: Any) -> Callable[[rpc.Method, Any], Any]:
    def answer(method: rpc.Method, request: Any) -> Any:
        return response

    return answer


def raising(failure: Failure) -> Callable[[rpc.Method, Any], Any]:
    def answer(method: rpc.Method, request: Any) -> Any:
        raise failure

    return answer
