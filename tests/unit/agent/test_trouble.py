"""What a host's document says of its disk and its clock."""

from pathlib import Path

import pytest

from etcdcompute.agent.machine import Disk
from etcdcompute.agent.trouble import describe_clock, describe_disk
from etcdcompute.placement.clocks import ClockOffset

GIB = 1024**3
STATE = Path("/var/lib/etcdcompute")


@pytest.mark.parametrize(
    ("total", "free", "said"),
    [
        (8 * GIB, 1 * GIB, ""),
        (8 * GIB, GIB // 4, "less than 409 MiB of the disk with /var/lib/etcdcompute are free"),
        # A twentieth of a large disk is enough for long.
        (1000 * GIB, 3 * GIB, ""),
        (1000 * GIB, 1 * GIB, "less than 2048 MiB of the disk"),
        (8 * GIB, 0, "guests that find no space are paused until there is"),
    ],
)
def test_a_disk_that_is_nearly_full_is_told(total: int, free: int, said: str) -> None:
    told = describe_disk(STATE, Disk(total, free))
    assert said in told
    assert bool(said) == bool(told)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, ""),
        (-29, ""),
        (31, "this host's clock is about a minute behind that of http://c1:8778: have both set by NTP"),
        (-3600, "about 60 minutes ahead of that of http://c1:8778"),
        (86400, "about 24 hours behind"),
    ],
)
def test_a_clock_that_is_not_placements_is_told(seconds: float, said: str) -> None:
    told = describe_clock(ClockOffset("http://c1:8778", seconds))
    assert said in told
    assert bool(said) == bool(told)


def test_a_server_that_told_no_time_is_not_suspected() -> None:
    assert describe_clock(None) == ""
