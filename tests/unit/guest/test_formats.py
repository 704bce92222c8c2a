"""The bytes this package writes itself: archive, disk label, disk image, and the ELF headers it reads."""

import struct
import sys
from pathlib import Path

import pytest

from guest.cpio import write_cpio
from guest.disk import BOOT_START, DISK_SIZE, ROOT_START, master_boot_record
from guest.elf import read_linkage
from guest.errors import GuestError
from guest.qcow2 import write_qcow2
from guest.tree import Tree

CLUSTER = 65536


def read_qcow2(image: bytes) -> tuple[int, dict[int, bytes]]:
    """The size and the used clusters of an image's disk, by the format's description and nothing of the writer's."""
    magic, version, _, _, cluster_bits, size = struct.unpack_from(">4sIQIIQ", image)
    assert (magic, version, 1 << cluster_bits) == (b"QFI\xfb", 3, CLUSTER)
    entries, level1_at = struct.unpack_from(">IQ", image, 36)
    clusters: dict[int, bytes] = {}
    for index, entry in enumerate(struct.unpack_from(f">{entries}Q", image, level1_at)):
        if table := entry & ~(1 << 63):
            for number, pointer in enumerate(struct.unpack_from(f">{CLUSTER // 8}Q", image, table)):
                if where := pointer & ~(1 << 63):
                    clusters[index * CLUSTER // 8 + number] = image[where : where + CLUSTER]
    return size, clusters


@pytest.mark.parametrize("used", [[], [0], [3, 5], [0, 8191, 8192, 8200]])
def test_a_disk_survives_its_image(used: list[int], tmp_path: Path) -> None:
    content = {index: bytes([1 + index % 200]).rjust(20, b"\0").ljust(CLUSTER, b"\0") for index in used}
    size = (max(used, default=0) + 3) * CLUSTER
    raw, image = tmp_path / "disk", tmp_path / "image"
    with raw.open("wb") as file:
        file.truncate(size)
        for index, data in content.items():
            file.seek(index * CLUSTER)
            file.write(data)
    write_qcow2(raw, image)
    assert read_qcow2(image.read_bytes()) == (size, content)
    assert image.stat().st_size <= (len(used) + 6) * CLUSTER


def test_a_disk_of_odd_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(CLUSTER + 512))
    with pytest.raises(ValueError, match="not a multiple"):
        write_qcow2(tmp_path / "disk", tmp_path / "image")


def test_the_label_names_both_partitions() -> None:
    sector = master_boot_record(b"\xfa" * 440)
    assert len(sector) == 512
    assert sector[:440] == b"\xfa" * 440
    assert sector[510:] == b"\x55\xaa"
    first, second = (struct.unpack_from("<B3xB3xII", sector, 446 + 16 * index) for index in range(2))
    assert first[:3] == (0x80, 0x0E, BOOT_START // 512)
    assert second[:3] == (0, 0x83, ROOT_START // 512)
    assert (second[2] + second[3]) * 512 == DISK_SIZE
    with pytest.raises(ValueError, match="440"):
        master_boot_record(bytes(441))


def test_an_archive_holds_parents_before_children_and_belongs_to_root() -> None:
    tree = Tree()
    tree.file("bin/tool", b"12345", mode=0o755)
    tree.link("bin/sh", "tool")
    tree.character_device("dev/console", 5, 1)
    archive = write_cpio(tree)
    assert len(archive) % 512 == 0
    found = {}
    at = 0
    while True:
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        if name == "TRAILER!!!":
            break
        start = (at + 110 + fields[11] + 3) // 4 * 4
        assert fields[2:4] == [0, 0], "owner and group"
        found[name] = (f"{fields[1]:o}", archive[start : start + fields[6]], tuple(fields[9:11]))
        at = (start + fields[6] + 3) // 4 * 4
    assert list(found) == ["bin", "bin/sh", "bin/tool", "dev", "dev/console"]
    assert found["bin/tool"] == ("100755", b"12345", (0, 0))
    assert found["bin/sh"] == ("120777", b"tool", (0, 0))
    assert found["dev/console"] == ("20600", b"", (5, 1))


def test_a_file_cannot_be_a_parent() -> None:
    tree = Tree()
    tree.file("a", b"")
    with pytest.raises(ValueError, match="a is no directory"):
        tree.file("a/b", b"")


def test_a_program_s_libraries_are_read() -> None:
    linkage = read_linkage(Path(sys.executable).resolve().read_bytes(), name="python")
    assert "libc.so.6" in linkage.needed
    assert linkage.interpreter is not None
    assert Path(linkage.interpreter).exists()
    with pytest.raises(GuestError, match="script is no 64-bit"):
        read_linkage(b"#!/bin/sh\n", name="script")
