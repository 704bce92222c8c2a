"""The OpenAPI document of all that is served."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from etcdcompute.placement.api.exchange import Request, Response
from etcdcompute.placement.api.routing import Handler
from etcdcompute.placement.graph.store import GraphStore


def publishing(document: Callable[[], dict[str, Any]]) -> Handler:
    """Return the handler that shows a document; made late, since this handler's own route is in it."""

    @cache
    def content() -> bytes:
        return json.dumps(document(), indent=2).encode()

    def publish(store: GraphStore, request: Request) -> Response:  # noqa: ARG001 - every handler gets both
        """Describe all routes."""
        return Response(content=content())

    return publish
