"""One log line when something goes, and one when it is back, however often it is tried in between."""

import contextlib
import logging
import threading
from collections.abc import Iterator

from etcdcompute.agent.errors import PlacementUnavailable
from etcdcompute.errors import EtcdComputeError

_LOG = logging.getLogger(__name__)


class Outage:
    """Whether one dependency answers. Safe to use from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why it does not answer, "" where it does."""
        return self._reason

    def begin(self, reason: object) -> None:
        """It does not answer."""
        with self._lock:
            first = not self._reason
            self._reason = str(reason) or "it does not answer"
        if first:
            _LOG.warning("%s is not available, trying on: %s", self._name, reason)

    def end(self) -> None:
        """It answers."""
        with self._lock:
            was_out = bool(self._reason)
            self._reason = ""
        if was_out:
            _LOG.info("%s is back", self._name)


@contextlib.contextmanager
def placement_calls(outage: Outage) -> Iterator[None]:
    """Make calls to placement: whatever it refuses is PlacementUnavailable, and counts as an outage."""
    try:
        yield
    except EtcdComputeError as error:
        outage.begin(error)
        raise PlacementUnavailable(str(error)) from error
    outage.end()
