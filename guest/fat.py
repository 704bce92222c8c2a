"""The boot partition: a FAT file system with the kernel, its initial RAM disk and syslinux, made without mounting."""

from collections.abc import Mapping
from pathlib import Path

from guest.programs import Unpacked

_SECTOR = 512


def write_boot_fat(
    files: Mapping[str, bytes], image: Path, *, size: int, start: int, programs: Unpacked, scratch: Path
) -> None:
    """Write a bootable FAT16 file system of `size` bytes that will lie `start` bytes into its disk."""
    with image.open("wb") as file:
        file.truncate(size)
    # Large clusters make the BIOS's reads few. "Hidden" sectors tell syslinux where on the disk it is.
    programs.run_native(
        "usr/bin/mformat", "-i", str(image), "-T", str(size // _SECTOR), "-h", "255", "-s", "63", "-c", "16",
        "-H", str(start // _SECTOR), "-N", "e7cdc0de", "-v", "BOOT", "::",
    )  # fmt: skip
    programs.run_native("usr/bin/syslinux", "-i", str(image))
    for name, data in files.items():
        source = scratch / name
        source.write_bytes(data)
        programs.run_native("usr/bin/mcopy", "-i", str(image), str(source), f"::/{name}")
