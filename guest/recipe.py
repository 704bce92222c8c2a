"""What goes into the guest: the initial RAM disk and the root file system, from packages and the files beside this."""

from collections.abc import Iterable
from pathlib import Path

from guest.elf import read_linkage
from guest.errors import GuestError
from guest.programs import Unpacked
from guest.tree import Tree

FILES = Path(__file__).parent / "files"
ROOT_LABEL = "etcdcompute"

# Loaded by the initial RAM disk, when the device is there; the comment says what for.
_BOOT_MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio-rng",
    "virtio_scsi",
    "ata_piix",  # the seed on an IDE CD-ROM; Debian's cloud kernel has no AHCI
    "sd_mod",
    "sr_mod",
)
# Loaded later, or by whoever logs in.
_ROOT_MODULES = (
    *_BOOT_MODULES,
    "isofs",  # the seed
    "button",  # the power button ...
    "evdev",  # ... and how a program hears of it
    "virtio_balloon",
    "virtio_console",
    "vfat",
    "nls_ascii",
    "nls_cp437",
)
# Programs linked dynamically, with the path they get.
_PROGRAMS = {
    "usr/sbin/dropbear": "usr/sbin/dropbear",
    "usr/bin/dropbearkey": "usr/bin/dropbearkey",
    "usr/bin/dbclient": "usr/bin/dbclient",
    "usr/lib/openssh/sftp-server": "usr/lib/sftp-server",
    "sbin/resize2fs": "sbin/resize2fs",
    "sbin/e2fsck": "sbin/e2fsck",
}
# Applets that would shadow what a Debian package means by the name, or that make no sense here.
_NO_APPLETS = frozenset({"dpkg", "dpkg-deb", "rpm", "rpm2cpio", "linuxrc"})
# What the initial RAM disk's /init calls; the shell's own commands need no entry.
_INIT_APPLETS = ("sh", "mount", "insmod", "findfs", "blockdev", "dd", "mkdir", "switch_root", "sleep", "umount", "grep")
_DIRECTORIES = (
    "dev",
    "proc",
    "sys",
    "run",
    "mnt",
    "media",
    "opt",
    "srv",
    "home",
    "var/log",
    "var/lib/etcdcompute-guest",
)


def kernel_release(programs: Unpacked) -> str:
    """The one kernel among the packages, such as 6.1.0-56-cloud-amd64."""
    found = [path.name.removeprefix("vmlinuz-") for path in (programs.root / "boot").glob("vmlinuz-*")]
    if len(found) != 1:
        raise GuestError(f"expected one kernel among the packages, found {len(found)}: {', '.join(sorted(found))}")
    return found[0]


def initial_ramdisk(programs: Unpacked) -> Tree:
    """A shell, the modules that reach a disk, and /init: all it does is to find and mount the root file system."""
    tree = Tree()
    tree.file("bin/busybox", programs.find("bin/busybox").read_bytes(), mode=0o755)
    for applet in _INIT_APPLETS:
        tree.link(f"bin/{applet}", "busybox")
    _copy_files(tree, FILES / "initramfs")
    # Without it the first process has no standard output until it has mounted /dev.
    tree.character_device("dev/console", 5, 1)
    for name in ("proc", "sys", "root"):
        tree.directory(name)
    modules = _Modules(programs)
    for name in _BOOT_MODULES:
        order = modules.in_order([name])
        for path in order:
            tree.file(f"modules/{path.name}", path.read_bytes())
        tree.file(f"modules/{name}.list", " ".join(path.name for path in order).encode() + b"\n")
    return tree


def root_file_system(programs: Unpacked) -> Tree:
    """Busybox, dropbear and the project's own scripts."""
    tree = Tree()
    for name in _DIRECTORIES:
        tree.directory(name)
    tree.directory("root", mode=0o700)
    tree.directory("root/.ssh", mode=0o700)
    tree.directory("tmp", mode=0o1777)
    tree.directory("var/tmp", mode=0o1777)
    tree.link("var/run", "/run")
    tree.file("bin/busybox", programs.find("bin/busybox").read_bytes(), mode=0o755)
    for applet in programs.run_native("bin/busybox", "--list-full").split():
        if Path(applet).name not in _NO_APPLETS and applet not in tree:
            tree.link(applet, "/bin/busybox")
    _copy_programs(tree, programs)
    modules = _Modules(programs)
    directory = f"lib/modules/{modules.release}"
    chosen = modules.in_order(_ROOT_MODULES)
    for path in chosen:
        tree.file(f"{directory}/{path.relative_to(modules.directory)}", path.read_bytes())
    tree.file(f"{directory}/modules.dep", modules.dependency_table(chosen))
    _copy_files(tree, FILES / "root")
    tree.file("etc/shadow", (FILES / "root/etc/shadow").read_bytes(), mode=0o600)
    tree.link("etc/mtab", "/proc/mounts")
    return tree


class _Modules:
    """The kernel's modules and what each needs, by busybox's depmod."""

    def __init__(self, programs: Unpacked) -> None:
        self.release = kernel_release(programs)
        base = next(path for path in ("usr/lib/modules", "lib/modules") if (programs.root / path).is_dir())
        self.directory = programs.root / base / self.release
        table = programs.run_native("bin/busybox", "depmod", "-n", "-b", str(programs.root), self.release)
        self._needs: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        for line in table.splitlines():
            path, separator, needs = line.partition(":")
            # depmod prints its other tables after this one: aliases and symbols.
            if separator and path.endswith((".ko", ".ko.xz")) and not path.startswith(("alias ", "#")):
                self._needs[path] = needs.split()
                self._names[_module_name(path)] = path

    def in_order(self, names: Iterable[str]) -> list[Path]:
        """The files of these modules, each after what it needs. What is built into the kernel is left out."""
        order: list[str] = []

        def add(path: str) -> None:
            for needed in self._needs[path]:
                if needed not in order:
                    add(needed)
            if path not in order:
                order.append(path)

        for name in names:
            path = self._names.get(name.replace("-", "_"))
            if path is not None:
                add(path)
        return [self.directory / path for path in order]

    def dependency_table(self, chosen: Iterable[Path]) -> bytes:
        """A modules.dep of these files only."""
        paths = [str(path.relative_to(self.directory)) for path in chosen]
        return "".join(f"{path}: {' '.join(self._needs[path])}\n" for path in paths).encode()


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def _copy_programs(tree: Tree, programs: Unpacked) -> None:
    """The programs, their libraries, and their libraries' libraries."""
    wanted: list[str] = []
    for source, target in _PROGRAMS.items():
        data = programs.find(source).read_bytes()
        tree.file(target, data, mode=0o755)
        linkage = read_linkage(data, name=source)
        wanted.extend(linkage.needed)
        if linkage.interpreter:
            loader = programs.find(linkage.interpreter.lstrip("/"))
            tree.file(linkage.interpreter, loader.read_bytes(), mode=0o755)
    for soname in wanted:
        path = f"usr/lib/x86_64-linux-gnu/{soname}"
        if path in tree or soname.startswith("ld-linux"):
            continue
        data = programs.find_library(soname).read_bytes()
        tree.file(path, data)
        wanted.extend(read_linkage(data, name=soname).needed)  # the loop goes on to these


def _copy_files(tree: Tree, directory: Path) -> None:
    """The project's own files; those that start with `#!` are programs."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            mode = 0o755 if data.startswith(b"#!") else 0o644
            tree.file(str(path.relative_to(directory)), data, mode=mode)
