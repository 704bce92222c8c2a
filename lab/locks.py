"""One change at a time: file locks that the kernel releases when their holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lab.progress import Progress


@contextmanager
def held(path: Path, progress: Progress, whom: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting (audibly) for `whom` when somebody else has it.

    Who holds the lock may remove its file: whoever waited for it then locks the file that takes its place.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("w")
        except FileNotFoundError:
            continue  # the folder was removed under our hands
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with progress.step(f"waiting for {whom}"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, path):
                yield
                return


def _is_at(lock: TextIO, path: Path) -> bool:
    """Return whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
