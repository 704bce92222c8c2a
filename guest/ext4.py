"""A tree as an ext4 file system, written by mke2fs and debugfs into a plain file: no mount, no root."""

import re
import stat
from pathlib import Path

from guest.errors import GuestError
from guest.programs import EPOCH_S, Unpacked
from guest.tree import Entry, Tree

# Fixed, so that builds are alike; nothing in the guest tells disks apart by it.
_UUID = "8c1b7f0e-6f0b-4a8e-9d1b-0e7c0d0e7cd1"
_BLOCK = 4096
# Room in the tables for growing online to 2 TiB; beyond that ext4 uses another layout by itself.
_GROW_TO_BLOCKS = 2 * 2**40 // _BLOCK


def write_ext4(tree: Tree, image: Path, *, size: int, label: str, programs: Unpacked, scratch: Path) -> None:
    """Write the tree into a new file system of `size` bytes in the file `image`.

    `scratch` is a directory for the contents on their way in.
    """
    with image.open("wb") as file:
        file.truncate(size)
    # No checksums of metadata: emulated, they cost more than they are worth on a virtual disk. The journal is the
    # smallest there is, for it is zeroed and read.
    programs.run(
        "sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-m", "1", "-i", "16384", "-L", label,
        "-U", _UUID, "-J", "size=4", "-O", "^metadata_csum,^64bit,uninit_bg", "-E",
        f"hash_seed={_UUID},resize={_GROW_TO_BLOCKS},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
        str(image), str(size // _BLOCK),
    )  # fmt: skip
    script = scratch / "debugfs-script"
    script.write_text("\n".join(_commands(tree, scratch)) + "\n")
    output = programs.run("sbin/debugfs", "-w", "-f", str(script), str(image))
    # debugfs ends with 0 whatever happens; it answers a command it could carry out with its echo, or little else.
    problems = [line for line in output.splitlines() if not re.match(r"debugfs[ :]|Allocated inode: \d+$|$", line)]
    if problems:
        raise GuestError(f"debugfs failed: {problems[0]}")


def _commands(tree: Tree, scratch: Path) -> list[str]:
    commands: list[str] = ["rmdir lost+found"]
    for number, (path, entry) in enumerate(tree):
        parent, _, name = path.rpartition("/")
        commands.append(f"cd /{parent}")
        commands.extend(_make(name, entry, scratch / str(number)))
        commands.extend(f"sif {name} {field} {value}" for field, value in _fields(entry))
    return commands


def _make(name: str, entry: Entry, content: Path) -> list[str]:
    if stat.S_ISDIR(entry.mode):
        return [f"mkdir {name}"]
    if stat.S_ISLNK(entry.mode):
        return [f"symlink {name} {entry.data.decode()}"]
    if stat.S_ISREG(entry.mode):
        content.write_bytes(entry.data)
        return [f"write {content} {name}"]
    raise GuestError(f"{name}: only files, directories and links go into the root file system")


def _fields(entry: Entry) -> list[tuple[str, str]]:
    fields = [("mode", f"0{entry.mode:o}"), ("uid", "0"), ("gid", "0")]
    return fields + [(time, f"@{EPOCH_S}") for time in ("atime", "ctime", "mtime", "crtime")]
