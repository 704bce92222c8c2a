"""The initial RAM disk of a machine node: what reaches its disk, and the files that make it a particular node.

It is two archives, one after the other: the base's (programs and modules, made once) and the node's own. The kernel
unpacks both. A stock initial RAM disk would do the same with a hundred times the programs, each of them emulated.
"""

import lzma
import stat
from collections.abc import Iterable
from pathlib import Path

from guest.cpio import write_cpio
from guest.tree import Tree
from lab.errors import LabError

_INIT = Path(__file__).parent / "files" / "init"
# What reaches the disk; what is built into the kernel is not among its modules and is left out.
_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_APPLETS = ("sh", "mount", "insmod", "sleep", "cp", "sync", "switch_root", "echo")


def base_archive(root: Path) -> bytes:
    """Return the archive of the base in `root`, which has one kernel's modules and a static busybox."""
    tree = Tree()
    tree.file("bin/busybox", (root / "usr/bin/busybox").read_bytes(), mode=0o755)
    for applet in _APPLETS:
        tree.link(f"bin/{applet}", "busybox")
    tree.file("init", _INIT.read_bytes(), mode=0o755)
    # Without it the first process has no standard output until it has mounted /dev.
    tree.character_device("dev/console", 5, 1)
    for name in ("proc", "sys", "root", "node"):
        tree.directory(name)
    order = modules_in_order(root / "usr/lib/modules" / kernel_release(root), _MODULES)
    for path in order:
        # Unpacked here, on a processor that is not emulated.
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        tree.file(f"modules/{path.name.removesuffix('.xz')}", data)
    tree.file("modules/order", " ".join(path.name.removesuffix(".xz") for path in order).encode() + b"\n")
    return write_cpio(tree)


def node_archive(files: Path) -> bytes:
    """Return the archive that puts what is in the folder `files` over the base; everything belongs to root."""
    tree = Tree()
    for path in sorted(files.rglob("*")):
        name = f"node/{path.relative_to(files)}"
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            tree.link(name, str(path.readlink()))
        elif path.is_dir():
            tree.directory(name, mode=mode)
        else:
            tree.file(name, path.read_bytes(), mode=mode)
    return write_cpio(tree)


def kernel_release(root: Path) -> str:
    """Return the one kernel that a base has modules for, such as 6.12.118+deb13-cloud-amd64."""
    found = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise LabError(f"expected one kernel in {root}, found {len(found)}: {', '.join(found)}")
    return found[0]


def modules_in_order(directory: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of these modules, each after what it needs; one that is built in has no file."""
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        paths[Path(path).name.split(".")[0].replace("-", "_")] = path
    order: list[str] = []

    def add(path: str) -> None:
        if path not in order:
            for needed in needs[path]:
                add(needed)
            order.append(path)

    for name in names:
        if name in paths:
            add(paths[name])
    return [directory / path for path in order]
