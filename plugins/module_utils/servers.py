# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON over HTTP to one of several equal servers, with failover; Ansible's urls module does the sending.

What cannot be reached is tried again, server after server, until the request's time limit is over: a restarting
service costs a moment, not the task.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.error
from dataclasses import dataclass
from typing import IO, Any, Dict, List, Optional, Sequence

from ansible.module_utils.urls import Request

from ansible_collections.etcdcompute.cloud.plugins.module_utils.deadline import Deadline
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import (
    ModuleError,
    OutcomeUnknown,
    Unavailable,
)

_PAUSE_S = 0.2
# "Bad gateway", "unavailable", "gateway timeout": another server may answer, or this one a moment later.
_PASSING_STATUSES = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Connection:
    """How to reach a service: `option` is the task's option that holds the URLs, for error messages."""

    service: str
    option: str
    urls: Sequence[str]
    request_timeout_s: float = 5.0
    validate_certs: bool = True
    ca_file: Optional[str] = None
    cert_file: Optional[str] = None
    key_file: Optional[str] = None


@dataclass(frozen=True)
class Answer:
    """A status and the JSON that came with it (None where there was none)."""

    status: int
    body: Any


class Servers:
    """The servers of one service; the one that answered last is asked first."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._urls = [url.rstrip("/") for url in connection.urls]
        if not self._urls:
            raise ModuleError("%s: the list is empty; name at least one URL" % connection.option)
        for url in self._urls:
            if not url.startswith(("http://", "https://")):
                raise ModuleError(
                    "%s: %r is not a URL; write it as http://HOST:PORT or https://HOST:PORT" % (connection.option, url)
                )
        self._preferred = 0
        # No proxy and no netrc: these are services of the operator's own network with credentials of their own.
        self._request = Request(
            use_proxy=False,
            use_netrc=False,
            follow_redirects="none",
            http_agent="etcdcompute.cloud",
            validate_certs=connection.validate_certs,
            ca_path=connection.ca_file,
            client_cert=connection.cert_file,
            client_key=connection.key_file,
        )

    @property
    def preferred(self) -> str:
        """The URL that is asked first."""
        return self._urls[self._preferred]

    def prefer_next(self) -> None:
        """Ask the next server first from now on: something is wrong with the present one."""
        self._preferred = (self._preferred + 1) % len(self._urls)

    def send(
        self,
        method: str,
        path: str,
        document: object = None,
        headers: Optional[Dict[str, str]] = None,
        repeatable: bool = True,
    ) -> Answer:
        """Return the first answer that is not "unavailable"; refusals (4xx) are answers too.

        Unavailable: nobody answered. ModuleError: and nobody will (no such host, no trust). OutcomeUnknown: the
        request is not `repeatable`, was sent, and the answer lost.
        """
        data = None if document is None else json.dumps(document).encode()
        deadline = Deadline(self.connection.request_timeout_s)
        while True:
            problems: List[str] = []
            hopeless = True
            for asked in range(len(self._urls)):
                url = self.preferred
                # Each of those not yet asked gets its share of the time: the first may accept and never answer.
                timeout_s = max(0.1, deadline.remaining_s / (len(self._urls) - asked))
                try:
                    return self._send_to(url, method, path, data, headers or {}, timeout_s)
                except _Unreachable as error:
                    problems.append("%s: %s" % (url, error))
                    hopeless = hopeless and error.hopeless
                except OutcomeUnknown as error:
                    self.prefer_next()
                    if not repeatable:
                        raise
                    problems.append(str(error))
                    hopeless = False
                    continue
                self.prefer_next()
            if hopeless or deadline.remaining_s <= _PAUSE_S:
                message = "%s cannot be reached (%s); is %s right, and is the service running there?" % (
                    self.connection.service,
                    "; ".join(problems),
                    self.connection.option,
                )
                raise ModuleError(message) if hopeless else Unavailable(message)
            time.sleep(_PAUSE_S)

    def open_stream(self, path: str, data: bytes, headers: Dict[str, str], silence_s: float) -> IO[bytes]:
        """Post `data` to the preferred server and return its answer to be read line by line.

        A read that waits longer than `silence_s` raises; see `STREAM_ERRORS`.
        """
        stream: IO[bytes] = self._request.open(
            "POST", self.preferred + path, data=data, headers=_json_headers(headers), timeout=silence_s
        )
        return stream

    def _send_to(
        self, url: str, method: str, path: str, data: Optional[bytes], headers: Dict[str, str], timeout_s: float
    ) -> Answer:
        try:
            response = self._request.open(
                method, url + path, data=data, headers=_json_headers(headers), timeout=timeout_s
            )
            with response:
                return Answer(response.status, _parse(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, _parse(error.read()))
            if error.code in _PASSING_STATUSES:
                raise OutcomeUnknown("%s answered %d: %s" % (url, error.code, message_of(answer))) from error
            return answer
        except urllib.error.URLError as error:
            # urllib wraps only what happens before the request is out, so nothing was carried out.
            reason = error.reason
            raise _Unreachable(str(reason), isinstance(reason, (ssl.SSLError, socket.gaierror))) from error
        except ssl.SSLError as error:
            raise _Unreachable(str(error), True) from error
        except (OSError, http.client.HTTPException) as error:
            raise OutcomeUnknown("%s did not answer %s %s: %s" % (url, method, path, reason_of(error))) from error


STREAM_ERRORS = (OSError, http.client.HTTPException, ValueError)


class _Unreachable(Exception):
    """A server cannot be reached; `hopeless`: and trying again would not help."""

    def __init__(self, message: str, hopeless: bool) -> None:
        super().__init__(message)
        self.hopeless = hopeless


def reason_of(error: BaseException) -> str:
    """Return an exception as words, also where it has none of its own."""
    return str(error) or type(error).__name__


def message_of(answer: Answer) -> str:
    """Return what a refusal says, in the forms that etcd's gateway and placement use."""
    body = answer.body
    if isinstance(body, dict):
        if isinstance(body.get("errors"), list) and body["errors"]:
            return " ".join(str(body["errors"][0].get("detail", "")).split())
        for field in ("message", "error"):
            if isinstance(body.get(field), str):
                return str(body[field])
    return "HTTP status %d" % answer.status


def _json_headers(headers: Dict[str, str]) -> Dict[str, str]:
    return dict({"Content-Type": "application/json", "Accept": "application/json"}, **headers)


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data.decode()) if data else None
    except ValueError:
        return None
