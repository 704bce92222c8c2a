"""Our placement in this process: its ASGI application, spoken to without a socket, on a graph in memory or in Neo4j."""

import asyncio
from collections.abc import Callable
from typing import Any

from etcdcompute.placement.api.app import PlacementApp
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.store import GraphStore
from tests.conformance.differential.exchange import Answer, Ask, answer


class Ours:
    """The service under test."""

    def __init__(self, graph: Callable[[], GraphStore] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._graph = graph or (lambda: EmbeddedStore(MemoryJournal()))
        self._open()

    def _open(self) -> None:
        self._store = self._graph()
        self._store.start()
        self._application = PlacementApp(self._store)

    def _shut(self) -> None:
        self._application.close()
        self._store.close()

    def reset(self) -> None:
        """Start over on an empty graph."""
        self._shut()
        self._open()

    def close(self) -> None:
        """End its threads."""
        self._shut()
        self._loop.close()

    def ask(self, ask: Ask) -> Answer:
        """Answer a request."""
        return self._loop.run_until_complete(self._ask(ask))

    async def _ask(self, ask: Ask) -> Answer:
        sent: list[Any] = []
        coming = [{"type": "http.request", "body": ask.payload, "more_body": False}]

        async def receive() -> Any:
            return coming.pop() if coming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._application(_scope(ask), receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return answer(start["status"], headers, body)


def _scope(ask: Ask) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": ask.method,
        "scheme": "http",
        "path": ask.path,
        "raw_path": ask.path.encode(),
        "root_path": "",
        "query_string": ask.query_string.encode(),
        "headers": [
            (b"host", b"placement"),
            *((name.encode(), value.encode("latin-1")) for name, value in ask.headers.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("placement", 80),
    }
