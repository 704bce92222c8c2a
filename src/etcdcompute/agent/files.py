"""Files that are there whole or not at all, also after a power cut."""

import contextlib
import os
import uuid
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Give `path` this content in one step; readers see the old or the new content, never half of it."""
    part = part_of(path)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_once(path: Path, data: bytes) -> bytes:
    """Create `path` with this content unless it exists; return the content it has, whoever came first."""
    part = part_of(path)
    try:
        part.write_bytes(data)
        sync_file(part)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
            sync_directory(path.parent)
    finally:
        part.unlink(missing_ok=True)
    return path.read_bytes()


def part_of(path: Path) -> Path:
    """Return a name beside `path` for a file in the making; `remove_parts` finds it after a crash."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")


def remove_parts(directory: Path) -> None:
    """Remove what an interrupted process left in the making, directly in `directory`."""
    for path in directory.glob("*.part"):
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Have the file's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Have the directory's entries on the disk."""
    sync_file(path)
