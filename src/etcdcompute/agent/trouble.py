"""What is wrong with a host, in a sentence for its document, which `etcdcompute host list` shows; "" where nothing is.

The sentences do not follow every byte and second: a document is written anew whenever its sentence changes.
"""

from pathlib import Path
from typing import Final

from etcdcompute.agent.machine import Disk
from etcdcompute.placement.clocks import ClockOffset

_MIB: Final = 1024**2
_LOW_SHARE: Final = 20
_LOW_MOST_BYTES: Final = 2 * 1024**3
# Nothing here needs clocks that agree, but who reads logs and times of several hosts does.
_CLOCK_S: Final = 30.0


def describe_disk(path: Path, disk: Disk) -> str:
    """Tell of a disk of which less than a twentieth, and less than 2 GiB, is free."""
    low_bytes = min(disk.total_bytes // _LOW_SHARE, _LOW_MOST_BYTES)
    if disk.free_bytes >= low_bytes:
        return ""
    return (
        f"less than {low_bytes // _MIB} MiB of the disk with {path} are free: free some; guests that find no space are "
        "paused until there is"
    )


def describe_clock(offset: ClockOffset | None) -> str:
    """Tell of a clock that is not placement's; which of the two is wrong nobody here can know."""
    if offset is None or abs(offset.seconds) < _CLOCK_S:
        return ""
    where = "behind" if offset.seconds > 0 else "ahead of"
    return f"this host's clock is {_span(abs(offset.seconds))} {where} that of {offset.url}: have both set by NTP"


def _span(seconds: float) -> str:
    if seconds < 90:
        return "about a minute"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.0f} hours"
