"""The steps in order, and the cache that makes them unnecessary."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guest import disk, packages
from guest.cpio import write_cpio
from guest.errors import GuestError
from guest.ext4 import write_ext4
from guest.fat import write_boot_fat
from guest.packages import Package
from guest.programs import Unpacked
from guest.qcow2 import write_qcow2
from guest.recipe import ROOT_LABEL, initial_ramdisk, kernel_release, root_file_system

DEFAULT_OUTPUT = Path(".cache/guest/etcdcompute-guest.qcow2")

# The serial line comes last, so it is /dev/console. Where every instruction is emulated, moving the kernel to a random
# address costs 0.8 s and the self-tests of ciphers nobody uses 0.3 s. no_timer_check: on a loaded machine the kernel's
# check of its emulated timer can fail, and then it panics. Measured and left alone: mitigations=off saves nothing much
# and a guest under KVM wants them; acpi=noirq saves 0.7 s and costs all processors but the first.
_COMMAND_LINE = (
    "console=tty0 console=ttyS0,115200 quiet nokaslr cryptomgr.notests no_timer_check random.trust_cpu=on edd=off"
)
_SYSLINUX_CONFIG = """\
DEFAULT linux
PROMPT 0
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd
  APPEND {command_line}
"""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished image."""

    path: Path
    size: int
    sha256: str
    is_new: bool


def build(output: Path, *, progress: Callable[[str], None], force: bool = False) -> Built:
    """Make `output` the image of the recipe and of the newest packages apt knows; quick when it is already.

    Beside it go `<output>.sha256`, in the format of sha256sum, and `<output>.json`, which says what it was built from.
    The image appears under its name when it is whole, and never changes under a reader.
    """
    output = output.absolute()
    recipe, stamp = _recipe_hash(), packages.index_stamp()
    known = {} if force else _read_manifest(output)
    if known.get("recipe") == recipe and known.get("index") == stamp:
        return _existing(output, known)
    progress("asking apt for versions")
    wanted = packages.resolve()
    manifest: dict[str, object] = {
        "recipe": recipe,
        "index": stamp,
        "packages": {package.name: package.version for package in wanted},
    }
    if known.get("recipe") == recipe and known.get("packages") == manifest["packages"]:
        manifest["sha256"] = known["sha256"]
        _write(_beside(output, ".json"), json.dumps(manifest, indent=2) + "\n")
        return _existing(output, manifest)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # In the same directory, so that the last step is a rename.
        with tempfile.TemporaryDirectory(prefix=".build-", dir=output.parent) as scratch:
            image = _make_image(wanted, Path(scratch), pool=output.parent / "packages", progress=progress)
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
            manifest["sha256"] = digest
            # The manifest first and last: a build that is interrupted between leaves nothing that looks finished.
            _beside(output, ".json").unlink(missing_ok=True)
            image.replace(output)
            _write(_beside(output, ".sha256"), f"{digest}  {output.name}\n")
            _write(_beside(output, ".json"), json.dumps(manifest, indent=2) + "\n")
    except OSError as error:
        raise GuestError(f"cannot write {output}: {error.strerror or error}") from error
    return Built(output, output.stat().st_size, digest, is_new=True)


def _make_image(wanted: list[Package], scratch: Path, *, pool: Path, progress: Callable[[str], None]) -> Path:
    archives = packages.fetch(wanted, pool, progress=progress)
    progress(f"unpacking {len(archives)} packages")
    programs = Unpacked(scratch / "unpacked")
    packages.unpack(archives, programs.root)
    release = kernel_release(programs)
    progress(f"writing the boot partition: Linux {release}")
    files = {
        "initrd": write_cpio(initial_ramdisk(programs)),
        "vmlinuz": (programs.root / "boot" / f"vmlinuz-{release}").read_bytes(),
        "syslinux.cfg": _SYSLINUX_CONFIG.format(command_line=_COMMAND_LINE).encode(),
    }
    boot, root, raw, image = (scratch / name for name in ("boot.fat", "root.ext4", "disk.raw", "disk.qcow2"))
    contents = scratch / "contents"
    contents.mkdir()
    write_boot_fat(files, boot, size=disk.BOOT_SIZE, start=disk.BOOT_START, programs=programs, scratch=contents)
    progress("writing the root file system")
    tree = root_file_system(programs)
    write_ext4(tree, root, size=disk.ROOT_SIZE, label=ROOT_LABEL, programs=programs, scratch=contents)
    progress("assembling the disk")
    disk.write_disk(raw, boot_code=programs.find("usr/lib/syslinux/mbr/mbr.bin").read_bytes(), boot=boot, root=root)
    write_qcow2(raw, image)
    return image


def _recipe_hash() -> str:
    """Of this package's own files: code, scripts and all."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted(here.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(here)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_manifest(output: Path) -> dict[str, object]:
    """What the image says it was built from; empty where there is none, or where it is not what was written."""
    try:
        manifest = json.loads(_beside(output, ".json").read_text())
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return {}
    if not isinstance(manifest, dict) or manifest.get("sha256") != digest:
        return {}
    return manifest


def _existing(output: Path, manifest: dict[str, object]) -> Built:
    sums = _beside(output, ".sha256")
    line = f"{manifest['sha256']}  {output.name}\n"
    if not sums.is_file() or sums.read_text() != line:
        _write(sums, line)
    return Built(output, output.stat().st_size, str(manifest["sha256"]), is_new=False)


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(output.name + suffix)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    partial.write_text(text)
    partial.replace(path)
