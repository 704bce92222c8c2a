"""The HTTP client that gabbi's tests share: its own, and a plainer one for what its own refuses to send."""

import http.client
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from gabbi.httpclient import Http


class SharedHttp(Http):  # type: ignore[misc]
    """One client for all tests of a file."""

    def request(
        self, absolute_uri: str, method: str, body: bytes, headers: Mapping[str, str], redirect: bool, timeout: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request; return the headers, with gabbi's `status` and `reason` among them, and the body."""
        lengths = [value for name, value in headers.items() if name.lower() == "content-length"]
        if all(length.isdigit() for length in lengths):
            answer: tuple[Mapping[str, str], bytes] = super().request(
                absolute_uri, method, body, headers, redirect, timeout
            )
            return answer
        return _send_as_told(absolute_uri, method, body, headers, timeout)


def _send_as_told(
    uri: str, method: str, body: bytes, headers: Mapping[str, str], timeout: float
) -> tuple[Mapping[str, str], bytes]:
    """Send headers as they are, however wrong."""
    parts = urlsplit(uri)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.putrequest(method, f"{parts.path}?{parts.query}")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    received = httpx.Headers(response.getheaders())
    received["status"], received["reason"] = str(response.status), response.reason
    return received, content


def shared_http(**_: Any) -> SharedHttp:
    """Return a client whatever is asked for: nothing here is verbose, and all of it is plain HTTP."""
    return SharedHttp(cert_validate=False)
