"""A raw disk as a qcow2 image (version 3), so that building needs no qemu; unused clusters take no room."""

import struct
from pathlib import Path

_CLUSTER = 65536
_COPIED = 1 << 63  # the cluster has exactly one user and may be written in place
_ENTRIES = _CLUSTER // 8  # of a level 2 table
_REFCOUNTS = _CLUSTER // 2  # of a block of 16-bit counts
_ZERO = bytes(_CLUSTER)


def write_qcow2(disk: Path, image: Path) -> None:
    """Write `image` from the raw `disk`, whose length is a multiple of 64 KiB.

    The layout is header, level 1 table, reference counts, level 2 tables, data: each count is 1.
    """
    size = disk.stat().st_size
    clusters = size // _CLUSTER
    if size % _CLUSTER:
        raise ValueError(f"{disk}: {size} bytes are not a multiple of {_CLUSTER}")
    with disk.open("rb") as raw:
        used = [index for index in range(clusters) if raw.read(_CLUSTER) != _ZERO]
        tables = sorted({index // _ENTRIES for index in used})
        # Header, level 1 table, table of counts: one cluster each. The blocks of counts count themselves, too.
        others = 3 + len(tables) + len(used)
        blocks = 1
        while blocks * _REFCOUNTS < others + blocks:
            blocks += 1
        first_table = 3 + blocks
        first_data = first_table + len(tables)
        total = first_data + len(used)

        with image.open("wb") as out:
            out.write(_padded(_header(size, clusters)))
            level1 = [0] * -(-clusters // _ENTRIES)
            for position, table in enumerate(tables):
                level1[table] = (first_table + position) * _CLUSTER | _COPIED
            out.write(_padded(_table(level1)))
            out.write(_padded(_table([(3 + block) * _CLUSTER for block in range(blocks)])))
            counts = struct.pack(">H", 1) * total
            out.write(counts.ljust(blocks * _CLUSTER, b"\0"))
            where = {index: (first_data + position) * _CLUSTER | _COPIED for position, index in enumerate(used)}
            for table in tables:
                start = table * _ENTRIES
                out.write(_table([where.get(index, 0) for index in range(start, start + _ENTRIES)]))
            for index in used:
                raw.seek(index * _CLUSTER)
                out.write(raw.read(_CLUSTER))


def _header(size: int, clusters: int) -> bytes:
    fields = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb", 3,
        0, 0,  # no backing file
        _CLUSTER.bit_length() - 1,
        size,
        0,  # not encrypted
        -(-clusters // _ENTRIES), _CLUSTER,  # level 1 table: entries, offset
        2 * _CLUSTER, 1,  # table of reference counts: offset, clusters
        0, 0,  # no snapshots
    )  # fmt: skip
    features = struct.pack(">QQQII", 0, 0, 0, 4, 104)  # none; counts of 2**4 bits; length of the header
    return fields + features + bytes(8)  # end of header extensions


def _table(entries: list[int]) -> bytes:
    return struct.pack(f">{len(entries)}Q", *entries)


def _padded(data: bytes) -> bytes:
    if len(data) > _CLUSTER:
        raise ValueError("the disk is too large for tables of one cluster")
    return data.ljust(_CLUSTER, b"\0")
