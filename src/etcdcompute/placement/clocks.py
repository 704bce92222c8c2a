"""How far servers' clocks are from this machine's, by the times that their answers tell."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """By how many seconds a server's clock is ahead of this machine's; 0 where they agree to a second or so."""

    url: str
    seconds: float


class Clocks:
    """What is known of the servers' clocks, by URL. Thread-safe."""

    def __init__(self) -> None:
        self._offsets: dict[str, ClockOffset] = {}

    @property
    def worst(self) -> ClockOffset | None:
        """The offset of the server whose clock differs most from ours; None where no server has told its time."""
        return max(self._offsets.copy().values(), key=lambda each: abs(each.seconds), default=None)

    def learn(self, url: str, date: str | None, asked_at: float) -> None:
        """Take an answer's `Date`, if it has one, to a question that went out at `asked_at` by our clock."""
        offset = _offset(url, date, asked_at, time.time())
        if offset is not None:
            self._offsets[url] = offset

    def forget(self, url: str) -> None:
        """Know nothing of a server any more."""
        self._offsets.pop(url, None)


def _offset(url: str, date: str | None, asked_at: float, answered_at: float) -> ClockOffset | None:
    """Return how far an answer's time (RFC 9110, 6.6.1: whole seconds) lies outside of that of question and answer."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if told + 1 < asked_at:
        return ClockOffset(url, told + 1 - asked_at)
    return ClockOffset(url, max(0.0, told - answered_at))
