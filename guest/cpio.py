"""A tree as a cpio archive in the "newc" format, the one the kernel unpacks as its initial RAM disk."""

import stat

from guest.tree import Tree

_TRAILER = "TRAILER!!!"


def write_cpio(tree: Tree) -> bytes:
    """The archive: every entry owned by root, all times zero, so the same tree gives the same bytes."""
    out = bytearray()
    for inode, (path, entry) in enumerate(tree, start=1):
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        _append(out, path, entry.data, inode=inode, mode=entry.mode, links=links, device=entry.device)
    _append(out, _TRAILER, b"", inode=0, mode=0, links=1, device=(0, 0))
    out.extend(bytes(-len(out) % 512))
    return bytes(out)


def _append(
    out: bytearray, path: str, data: bytes, *, inode: int, mode: int, links: int, device: tuple[int, int]
) -> None:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device of the file system, device of the node, name size, checksum
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
    out.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
    out.extend(bytes(-len(out) % 4))
    out.extend(data)
    out.extend(bytes(-len(out) % 4))
