"""Which web pages may use the API from a browser: Cross-Origin Resource Sharing, for the origins that are named.

An origin that is not named gets its answer without the headers that would let its page see it: the browser refuses.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etcdcompute.errors import InvalidInput

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-language",
        "cache-control",
        "content-language",
        "content-type",
        "openstack-api-version",
        "pragma",
        "x-auth-token",
        "x-openstack-request-id",
        "x-roles",
    }
)
_EXPOSED: Final = "location, openstack-api-version, x-openstack-request-id"
_MAX_AGE_S: Final = 3600


def check_origins(origins: Collection[str]) -> None:
    """Make sure that these are origins as browsers send them; InvalidInput names the one that is not."""
    for origin in origins:
        if origin != "*" and not _is_origin(origin):
            raise InvalidInput(
                f"cors_origins: {origin!r} is no origin; it is SCHEME://HOST[:PORT] without a path, "
                "for example https://dashboard.example.com, or * for any"
            )


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and text == f"{parts.scheme}://{parts.netloc}"


class CrossOrigin:
    """An application that the pages of some origins may use, "*" standing for all."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        check_origins(origins)
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's question beforehand, or let the application answer and say who may see it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await self._preflight(origin, headers)(scope, receive, send)
        else:
            await self._app(scope, receive, self._marking(origin, send))

    def _allowed(self, origin: str) -> str | None:
        if origin in self._origins:
            return origin
        return "*" if "*" in self._origins else None

    def _preflight(self, origin: str, headers: Headers) -> Response:
        method = headers.get("access-control-request-method")
        asked = [name.strip() for name in headers.get("access-control-request-headers", "").split(",") if name.strip()]
        allowed = self._allowed(origin)
        if allowed is None or method not in _METHODS or any(name.lower() not in _HEADERS for name in asked):
            return Response(headers={"vary": "Origin"})
        answer = {
            "access-control-allow-origin": allowed,
            "access-control-allow-methods": method,
            "access-control-max-age": str(_MAX_AGE_S),
            "vary": "Origin",
        }
        if asked:
            answer["access-control-allow-headers"] = ",".join(asked)
        return Response(headers=answer)

    def _marking(self, origin: str, send: Send) -> Send:
        allowed = self._allowed(origin)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed is not None:
                    headers["access-control-allow-origin"] = allowed
                    headers["access-control-expose-headers"] = _EXPOSED
            await send(message)

        return marked
