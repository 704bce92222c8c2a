"""The ASGI application: built from a store, nothing at import time.

Handlers are plain functions. They run on the event loop and are suspended where they wait for the store; the lengthy
ones run on threads.
"""

import asyncio
import contextlib
import json
import logging
import random
import re
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from etcdcompute.errors import EtcdComputeError
from etcdcompute.placement.api import version
from etcdcompute.placement.api.access import Caller, Everybody, Gate
from etcdcompute.placement.api.exchange import Query, Request, Response, parse_query
from etcdcompute.placement.api.media import accepts
from etcdcompute.placement.api.pages import refusal
from etcdcompute.placement.api.problems import Problem, problem_of
from etcdcompute.placement.api.routes import OPEN_PATHS, ROUTES, Action
from etcdcompute.placement.api.routing import AnyAction, Router
from etcdcompute.placement.api.streams import StreamAction, StreamedAnswer, Streams
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.suspension import run_suspendable

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_QUERY_BYTES = 32 * 1024
MAX_BODY_S = 300.0
_WORKERS = 16
# Long computations do not go faster by running at once, and shall not keep others from a thread.
_LENGTHY_WORKERS = 2
# How many may have the store's database compute at once; who comes then is told to come again, and not kept waiting.
_ELSEWHERE_WORKERS = 4


class PlacementApp:
    """The API on a store. The `gate` lets callers in, and says what they may do, on all but the open paths."""

    def __init__(self, store: GraphStore, *, gate: Gate | None = None) -> None:
        self._store = store
        self._gate = gate or Everybody()
        self._router = Router(ROUTES)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="placement-api")
        self._lengthy_workers = ThreadPoolExecutor(_LENGTHY_WORKERS, thread_name_prefix="placement-lengthy")
        self._elsewhere_workers = ThreadPoolExecutor(_ELSEWHERE_WORKERS, thread_name_prefix="placement-elsewhere")
        self._elsewhere = threading.BoundedSemaphore(_ELSEWHERE_WORKERS)
        self._streams = Streams(store, self._workers)

    def stop(self) -> None:
        """Have the streams end, which nothing else would; from any thread."""
        self._streams.stop()

    def close(self) -> None:
        """Let the threads end."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._lengthy_workers.shutdown(wait=False, cancel_futures=True)
        self._elsewhere_workers.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.monotonic()
        http = HttpRequest(scope, receive)
        request_id = _request_id(http.headers)
        with contextlib.suppress(ClientDisconnect):
            answer = await self._answer(http, request_id)
            await answer(scope, receive, send)
            _LOG.info(
                "%s %s %d %d bytes %.1f ms %s",
                http.method,
                _target(http),
                answer.status_code,
                answer.sent_bytes if isinstance(answer, StreamedAnswer) else len(answer.body),
                1000 * (time.monotonic() - started),
                request_id,
            )

    async def _answer(self, http: HttpRequest, request_id: str) -> HttpResponse | StreamedAnswer:
        negotiated = version.LATEST if _is_own(http) else None

        def refuse(problem: Problem) -> HttpResponse:
            return refusal(
                problem, negotiated, request_id, http.headers.get("accept", ""), _common(http, negotiated, request_id)
            )

        try:
            caller = Everybody() if http.scope["path"] in OPEN_PATHS else self._gate.admit(http.headers)
            negotiated = negotiated or version.negotiate(http.headers)
            _check_content_headers(http)
            action, path_items = self._router.find(http.method, http.scope["path"], negotiated)
            _check_media(action, http.headers)
            query = parse_query(http.scope["query_string"])
            _check_allowed(caller, action, http, query)
            if isinstance(action, StreamAction):
                stream = await action.handler(self._streams, http)
                stream.headers.update(_common(http, negotiated, request_id))
                return stream
            request = await _read(http, query, negotiated, path_items)
            response = await self._handle(action, request)
            return _success(http, response, negotiated, request_id)
        except Problem as problem:
            return refuse(problem)
        except EtcdComputeError as error:
            return refuse(problem_of(error))
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - a bug must not end the daemon, nor leave the client without an answer
            _LOG.exception("BUG: %s %s failed, %s", http.method, _target(http), request_id)
            return refuse(Problem(500, f"The server failed on this request; its log says why at {request_id}."))

    async def _handle(self, action: Action, request: Request) -> Response:
        if action.lengthy:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._lengthy_workers, action.handler, self._store, request)
        if action.elsewhere:
            return await self._handle_elsewhere(action, request)
        return await run_suspendable(self._workers, action.handler, self._store, request)

    async def _handle_elsewhere(self, action: Action, request: Request) -> Response:
        """Wait for the database, or for the end of the service, which ends what the database does a moment later."""
        if not self._elsewhere.acquire(blocking=False):
            detail = f"{_ELSEWHERE_WORKERS} queries are under way already; try again in a moment."
            raise Problem(503, detail, headers={"retry-after": "1"})
        ending = self._streams.ending.listen()
        work = asyncio.get_running_loop().run_in_executor(self._elsewhere_workers, self._have_computed, action, request)
        # Where nobody waits for it any more, nobody asks what went wrong with it either.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        both: set[asyncio.Future[Any]] = {work, ending}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not work.done():
            raise Problem(503, "The service ends, and the query with it.", headers={"retry-after": "1"})
        return work.result()

    def _have_computed(self, action: Action, request: Request) -> Response:
        try:
            return action.handler(self._store, request)
        finally:
            self._elsewhere.release()


def _check_content_headers(http: HttpRequest) -> None:
    if len(http.scope["query_string"]) > MAX_QUERY_BYTES:
        raise Problem(414, f"The query is longer than {MAX_QUERY_BYTES} bytes.")
    length = http.headers.get("content-length", "")
    if length and not (length.isascii() and length.isdigit()):
        raise Problem(400, "content-length header must be an integer")
    if length.strip("0") and not http.headers.get("content-type"):
        raise Problem(400, "content-type header required when content-length > 0")


def _check_allowed(caller: Caller, action: AnyAction, http: HttpRequest, query: Query) -> None:
    if not caller.may(action.rule, dict(query).get("project_id")):
        what = action.rule or f"{http.method} {http.scope['path']}"
        raise Problem(403, f"Policy does not allow {what} to be performed.")


async def _read(http: HttpRequest, query: Query, negotiated: int, path_items: Mapping[str, str]) -> Request:
    """Take in the whole request, within limits."""
    parts: list[bytes] = []
    size = 0
    until = time.monotonic() + MAX_BODY_S
    async for part in http.stream():
        if time.monotonic() > until:
            # Who sends nothing at all is hung up on before; this is for a byte now and then.
            detail = f"The body was not whole after {MAX_BODY_S:.0f} s."
            raise Problem(408, detail, headers={"connection": "close"})
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Problem(413, f"The body is longer than {MAX_BODY_BYTES} bytes.", headers={"connection": "close"})
        parts.append(part)
    return Request(
        method=http.method,
        path=http.scope["path"],
        query=query,
        headers=http.headers,
        body=b"".join(parts),
        version=negotiated,
        path_items=path_items,
    )


def _check_media(action: AnyAction, headers: Mapping[str, str]) -> None:
    """Make sure that a body is of the type that is taken, and that the answer's type is welcome."""
    if isinstance(action, StreamAction):
        takes, gives = action.takes, action.gives
    else:
        takes, gives = "application/json" * action.takes_json, "application/json" * action.gives_json
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if takes and given != takes:
        raise Problem(415, f"The media type {given or None} is not supported, use {takes}")
    if gives and not accepts(headers.get("accept", ""), gives):
        raise Problem(406, f"Only {gives} is provided")


def _target(http: HttpRequest) -> str:
    """Return the path as it was sent, for the log: still quoted, so that it cannot pretend to be a line of its own."""
    raw = http.scope.get("raw_path") or b"?"
    return str(raw.decode("latin-1"))


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-openstack-request-id", "")
    # No secret, so Python's own generator will do: the system's costs as much as reading the request.
    return given if _REQUEST_ID.fullmatch(given) else f"req-{uuid.UUID(int=random.getrandbits(128), version=4)}"


def _success(http: HttpRequest, response: Response, negotiated: int, request_id: str) -> HttpResponse:
    headers = {**response.headers, **_common(http, negotiated, request_id)}
    if "location" in headers:
        headers["location"] = f"{http.base_url}{headers['location'].removeprefix('/')}"
    modified = response.cached_since(negotiated)
    if modified is not None:
        headers["last-modified"] = formatdate(modified, usegmt=True)
        headers["cache-control"] = "no-cache"
    if response.content is not None:
        return HttpResponse(response.content, response.status, headers, media_type=response.media_type)
    if response.document is None:
        return HttpResponse(status_code=response.status, headers=headers)
    body = json.dumps(response.document)
    return HttpResponse(body, response.status, headers, media_type="application/json")


def _common(http: HttpRequest, negotiated: int | None, request_id: str) -> dict[str, str]:
    headers = {"x-openstack-request-id": request_id}
    if not _is_own(http):
        headers["vary"] = version.HEADER
        if negotiated is not None:
            headers[version.HEADER] = f"{version.SERVICE} {version.text(negotiated)}"
    return headers


def _is_own(http: HttpRequest) -> bool:
    """Whether a route is ours and not OpenStack's: those have no versions, whatever the header asks for."""
    return bool(http.scope["path"].startswith("/graph/"))
