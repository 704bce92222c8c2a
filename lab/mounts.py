"""Mounts: overlays that make a node of a base in no time, and their removal."""

import re
import tempfile
from pathlib import Path

from lab.commands import run, succeeds
from lab.errors import CommandError, LabError


def mounted_below(folder: Path) -> list[Path]:
    """Return the mount points at or below `folder`, innermost first."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4]))
        if point == folder or folder in point.parents:
            points.append(point)
    return points[::-1]


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below `folder`; an error says what is busy."""
    for point in mounted_below(folder):
        try:
            run(["umount", str(point)])
        except CommandError as error:
            if mounted_below(point):
                raise LabError(
                    f"{point} can't be unmounted ({error}): `fuser -vm {point}` shows who uses it"
                ) from error


def mount_overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """Mount `target` as `lower` with changes going to `upper`; all are directories, `work` on upper's filesystem."""
    for folder in (upper, work, target):
        folder.mkdir(parents=True, exist_ok=True)
    options = ",".join(
        f"{key}={_escaped(path)}" for key, path in (("lowerdir", lower), ("upperdir", upper), ("workdir", work))
    )
    run(["mount", "-t", "overlay", "-o", options, "etcdcompute-lab", str(target)])


def _escaped(path: Path) -> str:
    return re.sub(r"([\\,:])", r"\\\1", str(path))


def overlay_works(folder: Path) -> bool:
    """Return whether an overlay can be mounted with its upper directory in `folder`'s filesystem; leaves nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".overlay-", dir=folder) as name:
        place = Path(name)
        for part in ("lower", "upper", "work", "root"):
            (place / part).mkdir()
        options = f"lowerdir={_escaped(place / 'lower')},upperdir={_escaped(place / 'upper')}"
        options += f",workdir={_escaped(place / 'work')}"
        # In a mount namespace of its own: it vanishes by itself, even if we are killed here. The lookup of a file
        # made through the mount shows that the upper filesystem has what overlayfs needs (extended attributes).
        script = 'mount -t overlay -o "$1" overlay "$2" && mkdir "$2/made" && rmdir "$2/made"'
        return succeeds(["unshare", "--mount", "sh", "-c", script, "sh", options, str(place / "root")])
