"""HTTP as uvicorn and h11 read it, with an error document for what is no HTTP.

What h11 refuses never reaches the application: uvicorn answers it itself, in plain text and without the reason.
"""

import json
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from etcdcompute.placement.api.problems import Problem

_SENTENCES = {"bad Content-Length": "content-length header must be an integer"}


class PlacementProtocol(H11Protocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, saying why, and hang up; called while h11's error is handled."""
        error = sys.exc_info()[1]
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # An answer is under way already.
            self.transport.close()
            return
        status = getattr(error, "error_status_hint", 400)
        reason = str(error or msg)
        problem = Problem(status, _SENTENCES.get(reason, f"This is no HTTP request: {reason}."))
        body = json.dumps(problem.document(None)).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        response = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
