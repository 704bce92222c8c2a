"""A request to a placement service and its answer, as values that can be compared, printed and asked again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlencode

# What stands in an answer by chance: it is there or not, but its value is nobody's business.
_SHOWN_AS_PRESENT = ("last-modified",)
_SHOWN = ("content-type", "cache-control", "location", "openstack-api-version", "allow")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; `version` is the number behind the dot, `raw` a body that is sent as it is."""

    method: str
    path: str
    version: int = 39
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    raw: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The body's bytes."""
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()

    @property
    def query_string(self) -> str:
        """The query as it is sent."""
        return urlencode(self.query, safe=":,!")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        headers = {
            "x-auth-token": "admin",
            "accept": "application/json",
            "openstack-api-version": f"placement 1.{self.version}",
        }
        if self.payload:
            headers |= {"content-type": "application/json", "content-length": str(len(self.payload))}
        return headers

    def __str__(self) -> str:
        body = f" {self.payload.decode(errors='backslashreplace')}" if self.payload else ""
        return f"1.{self.version} {self.method} {self.path}{'?' if self.query else ''}{self.query_string}{body}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the request that a line as above describes."""
        version, method, target, *body = line.strip().split(" ", 3)
        path, _, query = target.partition("?")
        return cls(
            method,
            path,
            int(version.removeprefix("1.")),
            tuple(parse_qsl(query, keep_blank_values=True)),
            raw=body[0].encode() if body else None,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, without what differs by chance."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def code(self) -> str | None:
        """The code of an error document."""
        if self.status < 400 or not isinstance(self.document, dict):
            return None
        errors = self.document.get("errors") or [{}]
        code: str | None = errors[0].get("code")
        return code


class Service(Protocol):
    """A placement service that starts empty again at every reset."""

    def ask(self, ask: Ask) -> Answer:
        """Answer a request."""

    def reset(self) -> None:
        """Forget everything but standard traits and classes."""


def answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return an answer out of what came over the wire; names of headers in lower case."""
    shown = {name: headers[name] for name in _SHOWN if name in headers}
    shown |= {name: "present" for name in _SHOWN_AS_PRESENT if name in headers}
    if "content-type" in shown:
        shown["content-type"] = shown["content-type"].partition(";")[0]
    if "allow" in shown:
        shown["allow"] = ", ".join(sorted(shown["allow"].replace(" ", "").split(",")))
    try:
        document = json.loads(body) if body else None
    except ValueError:
        document = body.decode(errors="backslashreplace")
    return Answer(status, shown, document)
