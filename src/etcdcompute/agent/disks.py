"""Overlay disks, and what an image's own header says. Images are untrusted: qemu never gets to guess a format.

https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt
"""

import errno
import os
import struct
import subprocess
from pathlib import Path

from etcdcompute.agent.errors import BuildError, DiskFull, DiskTooSmall, ImageInvalid
from etcdcompute.agent.files import part_of, sync_directory, sync_file
from etcdcompute.agent.machine import read_disk
from etcdcompute.model import ImageSource

GIB = 1024**3
_SECTOR = 512
_MAGIC = b"QFI\xfb"
# magic, version, backing file's offset and size, cluster bits, virtual size; then, from version 3, features.
_HEADER = struct.Struct(">4sIQIIQ")
_FEATURES_OFFSET = 72
_EXTERNAL_DATA_FILE = 1 << 2
_QEMU_IMG_TIMEOUT_S = 60.0
# An overlay without data needs some 200 KiB.
_FULL_BYTES = 1024**2


def read_virtual_size(path: Path, image_format: str, *, name: str) -> int:
    """Return the size in bytes of the disk that a guest would see; ImageInvalid where the file is no such image.

    An image that refers to other files (a backing file, external data) is refused: it could name any file of the
    host, and the guest would read it.
    """
    if image_format == "raw":
        size = path.stat().st_size
        return -(-size // _SECTOR) * _SECTOR
    with path.open("rb") as file:
        header = file.read(_FEATURES_OFFSET + 8)
    if len(header) < _FEATURES_OFFSET + 8 or not header.startswith(_MAGIC):
        raise ImageInvalid(f"{name} is not a qcow2 image: correct image.url or image.format (qcow2 or raw)")
    _, version, backing_offset, _, _, virtual_size = _HEADER.unpack_from(header)
    features = struct.unpack_from(">Q", header, _FEATURES_OFFSET)[0] if version >= 3 else 0
    if backing_offset or features & _EXTERNAL_DATA_FILE:
        raise ImageInvalid(f"{name} refers to other files: flatten it with qemu-img convert")
    if virtual_size == 0:
        raise ImageInvalid(f"{name} is a disk of no size")
    return int(virtual_size)


def create_overlay(image: Path, source: ImageSource, disk: Path, *, disk_gib: int) -> None:
    """Create a qcow2 of `disk_gib` GiB over the cached image, whole or not at all; that it exists is success."""
    if disk.exists():
        return
    needed = read_virtual_size(image, source.format, name=f"image {source.url}")
    if needed > disk_gib * GIB:
        raise DiskTooSmall(
            f"DISK_GB is {disk_gib}, but the disk of image {source.url} has {needed / GIB:.2f} GiB: "
            f"ask for at least {-(-needed // GIB)}"
        )
    part = part_of(disk)
    try:
        _run_qemu_img(image, source.format, part, disk_gib)
        sync_file(part)
        part.rename(disk)
    except OSError as error:
        raise disk_error(error, disk) from error
    finally:
        part.unlink(missing_ok=True)
    sync_directory(disk.parent)


def _run_qemu_img(image: Path, image_format: str, part: Path, disk_gib: int) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image_format, "-b", str(image), str(part)]
    try:
        result = subprocess.run(
            [*command, f"{disk_gib}G"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_QEMU_IMG_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError("qemu-img is not installed on this host: install qemu-utils") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"qemu-img did not create {part.parent} in {_QEMU_IMG_TIMEOUT_S:g} s") from error
    if result.returncode == 0:
        return
    # What qemu-img prints is shown to people and not acted upon; whether the disk is full, the filesystem knows.
    if read_disk(part.parent).free_bytes < _FULL_BYTES:
        raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), part.parent)
    printed = " ".join(result.stderr.decode("utf-8", "replace").split())
    raise BuildError(f"qemu-img could not create the disk (status {result.returncode}): {printed}")


def disk_error(error: OSError, path: Path) -> BuildError:
    """Say what it means that a file of an instance cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space is left for {path} on this host: free some, or lower DISK_GB")
    return BuildError(f"{path} cannot be written: {error.strerror or error}")
