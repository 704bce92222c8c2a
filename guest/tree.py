"""The files of a file system, as values: nothing is owned by whoever happens to build it."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, symbolic link or character device; always owned by root.

    `mode` holds the type bits and the permissions. `data` is a file's content or a link's target.
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


class Tree:
    """Entries by path without a leading slash; parents come into being with their children."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Put a file with this content; an existing one is replaced."""
        self._put(path, Entry(stat.S_IFREG | mode, data))

    def directory(self, path: str, *, mode: int = 0o755) -> None:
        """Put a directory; an existing one gets the mode."""
        self._put(path, Entry(stat.S_IFDIR | mode))

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link; an existing entry is replaced."""
        self._put(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path: str, major: int, minor: int, *, mode: int = 0o600) -> None:
        """Put a device node."""
        self._put(path, Entry(stat.S_IFCHR | mode, device=(major, minor)))

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._entries

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """All entries in the order of their paths, so that a parent comes before its children."""
        return iter(sorted(self._entries.items(), key=lambda item: PurePosixPath(item[0]).parts))

    def _put(self, path: str, entry: Entry) -> None:
        path = path.strip("/")
        for parent in reversed(PurePosixPath(path).parents):
            name = str(parent)
            if name == ".":
                continue
            standing = self._entries.setdefault(name, Entry(stat.S_IFDIR | 0o755))
            if not stat.S_ISDIR(standing.mode):
                raise ValueError(f"{path}: {name} is no directory")
        self._entries[path] = entry
