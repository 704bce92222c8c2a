"""How much an answer of Neo4j may be, and until when it must be there, whatever the database does.

The driver reads a record whole before it shows it, and a record may be anything: `RETURN range(1, 1000000000)` costs
the database nothing and its reader 40 GB. It also waits without limit for a server that has stopped in mid-sentence.
The driver has no setting for either (6.4), so this counts what its socket receives. The names with underscores are the
driver's own affairs: should they change, `tests/functional/placement/test_graph_query.py` says so. It can go when the
driver has limits for the size of a message and the time of a read.
"""

import contextlib
import socket
from typing import Any

from neo4j import Transaction

from etcdcompute.deadline import Deadline

# After its own time limit the database is given as long to say so.
GRACE_S = 5.0


class TooMuch(OSError):
    """More has come than may."""


class Bounds:
    """Counts what comes; OSError ends the connection where it is too much, or too late."""

    def __init__(self, transaction: Transaction, most_bytes: int, timeout_s: float) -> None:
        self.exceeded = False
        self.late = False
        self._left = most_bytes
        self._connection: Any = transaction._connection
        self._socket: Any = self._connection.socket
        self._connection.inbox._socket = self
        self._deadline = Deadline.after(timeout_s + GRACE_S)
        self._socket.set_read_deadline(self._deadline.remaining_s)

    def recv_into(self, buffer: Any, nbytes: int) -> int:
        """Receive, as the driver asks its socket to."""
        try:
            received: int = self._socket.recv_into(buffer, nbytes)
        finally:
            self.late = self._deadline.expired
        self._left -= received
        if self._left < 0:
            self.exceeded = True
            raise TooMuch("the answer is too large")
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def break_off(self) -> None:
        """Have whoever waits for the answer wait no longer; from any thread."""
        # OSError: it is gone already.
        with contextlib.suppress(OSError):
            self._socket._socket.shutdown(socket.SHUT_RDWR)

    def lift(self) -> None:
        """Give the connection back as it was."""
        self._connection.inbox._socket = self._socket
        self._socket.set_read_deadline(None)
