"""Ports for servers of tests, which nobody else gets: neither another test run beside this one nor a client's own end.

A port that the kernel hands out is free for a moment only: before the server listens on it, or while a test has the
server killed, another run may be given the same.
"""

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Below 32,768, from where on Linux gives clients theirs.
_FIRST = 12_000
_BLOCK = 250
_BLOCKS = 80


def free_ports(count: int) -> list[int]:
    """Return different loopback ports on which nobody listens, and nobody else will."""
    return list(itertools.islice(filter(_is_free, _ports()), count))


@cache
def _ports() -> Iterator[int]:
    """Go round in a block of ports that is this process's own until it ends."""
    directory = Path(tempfile.gettempdir()) / f"etcdcompute-test-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    for block in random.sample(range(_BLOCKS), _BLOCKS):
        # Never closed: the lock on it is what says whose the block is.
        lock = os.open(directory / str(block), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        first = _FIRST + block * _BLOCK
        return itertools.cycle(range(first, first + _BLOCK))
    raise RuntimeError(f"all {_BLOCKS} blocks of ports are other test runs': see {directory}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: what the last one's connections left behind is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
