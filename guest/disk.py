"""The disk: a master boot record, the boot partition, the root partition."""

import shutil
import struct
from pathlib import Path

SECTOR = 512
MIB = 2**20

BOOT_START = 1 * MIB
BOOT_SIZE = 31 * MIB
ROOT_START = BOOT_START + BOOT_SIZE
ROOT_SIZE = 96 * MIB
DISK_SIZE = ROOT_START + ROOT_SIZE

_TYPE_FAT16_LBA, _TYPE_LINUX = 0x0E, 0x83
# Cylinder, head and sector say "beyond what can be said this way"; everything reads the sector numbers.
_CHS = b"\xfe\xff\xff"


def write_disk(disk: Path, *, boot_code: bytes, boot: Path, root: Path) -> None:
    """Assemble the raw disk from syslinux's boot code and the two file systems."""
    with disk.open("wb") as out:
        out.write(master_boot_record(boot_code))
        for start, part in ((BOOT_START, boot), (ROOT_START, root)):
            out.seek(start)
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, MIB)
        out.truncate(DISK_SIZE)


def master_boot_record(boot_code: bytes) -> bytes:
    """The first sector: code, a disk signature, two partitions of which the first is active."""
    if len(boot_code) > 440:
        raise ValueError(f"{len(boot_code)} bytes of boot code: a master boot record has room for 440")
    partitions = _partition(True, _TYPE_FAT16_LBA, BOOT_START, BOOT_SIZE)
    partitions += _partition(False, _TYPE_LINUX, ROOT_START, ROOT_SIZE)
    signature = struct.pack("<IH", 0xE7CDC0DE, 0)
    return boot_code.ljust(440, b"\0") + signature + partitions.ljust(64, b"\0") + b"\x55\xaa"


def _partition(active: bool, kind: int, start: int, size: int) -> bytes:
    flag = 0x80 if active else 0
    return struct.pack("<B3sB3sII", flag, _CHS, kind, _CHS, start // SECTOR, size // SECTOR)
