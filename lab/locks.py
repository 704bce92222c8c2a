"""One change at a time: file locks that the kernel releases when their holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.progress import Progress


@contextmanager
def held(path: Path, progress: Progress, whom: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting (audibly) for `whom` when somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"waiting for {whom}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
