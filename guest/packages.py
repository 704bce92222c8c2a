"""Debian's packages: resolved, fetched and unpacked by apt and dpkg, never installed."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from guest.errors import GuestError

KERNEL = "linux-image-cloud-amd64"
# Their libraries come along: these programs are linked dynamically and run in the guest.
WITH_LIBRARIES = ("dropbear-bin", "e2fsprogs")
# Taken alone: static, or run on the building machine, or needing no more than the C library.
ALONE = ("busybox-static", "openssh-sftp-server", "mtools", "syslinux", "syslinux-common")

_APT_LISTS = Path("/var/lib/apt/lists")
_RELATION = re.compile(r"^ {2}(?:Pre)?Depends: (\S+)$")


@dataclass(frozen=True, slots=True)
class Package:
    """One version of one package, as apt's signed index names it."""

    name: str
    version: str
    sha256: str


def missing_tools() -> list[str]:
    """The apt packages that must be installed before anything can be built."""
    needs = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}
    return sorted({package for tool, package in needs.items() if shutil.which(tool) is None})


def index_stamp() -> str:
    """Changes whenever apt's knowledge of packages does; cheap, unlike asking apt."""
    digest = hashlib.sha256()
    # Only the indexes count: locks and the directories for partial downloads change with every call of apt.
    for path in sorted(_APT_LISTS.glob("*_*")):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def resolve() -> list[Package]:
    """The packages of the recipe and their versions, newest first by apt's own rules; asks apt's local index only."""
    kernel = _dependencies([KERNEL], recurse=False)
    if not any(name.startswith("linux-image-") for name in kernel):
        raise GuestError(
            f"apt knows no package {KERNEL}: run `apt-get update` as root with Debian's main archive "
            "for amd64 in /etc/apt/sources.list"
        )
    names = {
        *(name for name in kernel if name.startswith("linux-image-")),
        *_dependencies(WITH_LIBRARIES, recurse=True),
        *WITH_LIBRARIES,
        *ALONE,
    }
    text = _run(["apt-cache", "show", "--no-all-versions", *sorted(names)]).stdout
    packages = [_parse(stanza) for stanza in text.strip().split("\n\n")]
    absent = names - {package.name for package in packages}
    if absent:
        raise GuestError(f"apt knows no package {', '.join(sorted(absent))}: run `apt-get update` as root")
    return sorted(packages, key=lambda package: package.name)


def fetch(packages: Iterable[Package], pool: Path, *, progress: Callable[[str], None]) -> list[Path]:
    """Bring the packages into `pool`; what is there already, with the right sum, is not fetched again."""
    pool.mkdir(parents=True, exist_ok=True)
    absent = [package for package in packages if not _is_fetched(pool, package)]
    if absent:
        progress(f"fetching {len(absent)} packages")
        # apt drops its privileges to a user that cannot write here; what it fetches is verified all the same.
        options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        wanted = [f"{package.name}={package.version}" for package in absent]
        try:
            _run(["apt-get", "download", "-q", *options, *wanted], cwd=pool)
        except GuestError as error:
            raise GuestError(f"{error}; if apt's index is old, `apt-get update` as root renews it") from error
    for package in absent:
        if not _is_fetched(pool, package):
            raise GuestError(f"{_archive(pool, package)} differs from apt's index: delete it and try again")
    return [_archive(pool, package) for package in packages]


def unpack(archives: Sequence[Path], into: Path) -> None:
    """Unpack the packages' files below `into`, two at a time."""
    into.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2, thread_name_prefix="unpack") as pool:
        list(pool.map(lambda archive: _run(["dpkg-deb", "-x", str(archive), str(into)]), archives))


def _dependencies(names: Sequence[str], *, recurse: bool) -> set[str]:
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    options = [f"--no-{kind}" for kind in kinds] + (["--recurse"] if recurse else [])
    text = _run(["apt-cache", "depends", *options, *names]).stdout
    found = {match[1] for line in text.splitlines() if (match := _RELATION.match(line))}
    return {name for name in found if not name.startswith("<")}  # <name>: a virtual package


def _parse(stanza: str) -> Package:
    fields = dict(re.findall(r"^(Package|Version|SHA256): (.+)$", stanza, re.MULTILINE))
    return Package(fields["Package"], fields["Version"], fields["SHA256"])


def _archive(pool: Path, package: Package) -> Path:
    version = package.version.replace(":", "%3a")
    found = list(pool.glob(f"{package.name}_{version}_*.deb"))
    return found[0] if found else pool / f"{package.name}_{version}_amd64.deb"


def _is_fetched(pool: Path, package: Package) -> bool:
    path = _archive(pool, package)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256


def _run(command: Sequence[str], *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
        raise GuestError(f"`{' '.join(command[:2])}` failed: {reason}")
    return done
