"""What an image's header says."""

import struct
from pathlib import Path

import pytest

from etcdcompute.agent.disks import GIB, read_virtual_size
from etcdcompute.agent.errors import ImageInvalid


def qcow2(path: Path, *, size: int, backing: int = 0, features: int = 0, version: int = 3) -> Path:
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 8 if backing else 0, 16, size)
    path.write_bytes(header.ljust(72, b"\0") + struct.pack(">Q", features) + bytes(100))
    return path


def test_the_virtual_size_of_a_qcow2(tmp_path: Path) -> None:
    assert read_virtual_size(qcow2(tmp_path / "i", size=3 * GIB), "qcow2", name="i") == 3 * GIB
    # Before version 3 there were no features: what stands there is something else.
    assert read_virtual_size(qcow2(tmp_path / "i", size=512, features=4, version=2), "qcow2", name="i") == 512


def test_a_raw_image_is_as_large_as_its_file_in_sectors(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(bytes(513))
    assert read_virtual_size(tmp_path / "i", "raw", name="i") == 1024


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 512, "backing": 512}, "refers to other files"),
        ({"size": 512, "features": 4}, "refers to other files"),
        ({"size": 0}, "no size"),
    ],
)
def test_images_that_are_refused(tmp_path: Path, fields: dict[str, int], said: str) -> None:
    with pytest.raises(ImageInvalid, match=said):
        read_virtual_size(qcow2(tmp_path / "i", **fields), "qcow2", name="image i")


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"<html>" + bytes(200)])
def test_what_is_no_qcow2_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i").write_bytes(content)
    with pytest.raises(ImageInvalid, match="is not a qcow2 image"):
        read_virtual_size(tmp_path / "i", "qcow2", name="image i")
