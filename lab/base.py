"""The nodes' base: a Debian root with what every node has, built once per recipe and shared by all labs."""

import hashlib
import json
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run_logged, succeeds
from lab.layout import CHECKOUT
from lab.locks import held
from lab.progress import Progress, Step
from lab.state import write_atomically
from lab.surroundings import Surroundings

RELEASES = ("trixie", "bookworm")
SIZE_MIB = 1400
INSTALLED = tuple(
    """
    systemd systemd-sysv dbus libpam-systemd python3 python3-venv python3-apt openssh-server iproute2 iputils-ping
    sudo ca-certificates procps kmod netbase curl less
    """.split()  # noqa: SIM905 -- read and edited as a list of words
)
# What the roles install, downloaded with its dependencies: they install it from the disk, or `installedbase` does.
DOWNLOADED = tuple(
    """
    etcd-server etcd-client libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils python3-libvirt
    python3-venv python3-pip-whl dnsmasq-base nftables iptables
    """.split()  # noqa: SIM905
)
# Without --force-unsafe-io dpkg syncs every file: that is most of the time of an install, for nodes nobody keeps.
SETUP = r"""
set -eu
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/lab
update-ca-certificates
apt-get update
apt-get upgrade --yes
apt-get clean
apt-get install --yes --download-only --no-install-recommends $DOWNLOADED
systemctl enable systemd-networkd ssh
systemctl disable systemd-networkd-wait-online
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
    systemd-firstboot.service systemd-networkd-persistent-storage.service
systemctl set-default multi-user.target
passwd --lock root
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /var/log/*.log
touch /etc/machine-id
"""
APT_CONF = """\
// Keep what was downloaded: nodes install from /var/cache/apt/archives.
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
APT::Periodic::Enable "0";
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A finished base: where its root is, and the id of the build (a rebuilt base is another one)."""

    root: Path
    build: str


def sources(release: str, surroundings: Surroundings) -> str:
    """Return apt's source list of a node."""
    main = f"deb {surroundings.mirror}"
    return (
        f"{main} {release} main\n{main} {release}-updates main\n"
        f"deb {surroundings.security_mirror} {release}-security main\n"
    )


def recipe(release: str, surroundings: Surroundings) -> str:
    """Return a hash over everything that decides what is in the base, less the packages' versions."""
    parts = [
        release, sources(release, surroundings), surroundings.authorities_digest,
        " ".join(INSTALLED), " ".join(DOWNLOADED), SETUP, APT_CONF,
    ]  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def folder_of(cache: Path, release: str, surroundings: Surroundings) -> Path:
    """Return where the base of this recipe is, or will be."""
    return cache / "bases" / f"{release}-{recipe(release, surroundings)}"


def find(cache: Path, release: str, surroundings: Surroundings) -> Base | None:
    """Return the finished base of this recipe, None where it has to be built."""
    return read(folder_of(cache, release, surroundings))


def read(folder: Path) -> Base | None:
    """Return the finished base in `folder`, None where there is none."""
    try:
        return Base(folder / "root", json.loads((folder / "base.json").read_text())["build"])
    except (OSError, ValueError, KeyError):
        return None


def missing_mib(cache: Path, release: str, surroundings: Surroundings) -> int:
    """Return how much disk it takes to build the base, 0 where it is there."""
    return 0 if find(cache, release, surroundings) else SIZE_MIB


def build(cache: Path, release: str, surroundings: Surroundings, progress: Progress) -> Base:
    """Return the base of this recipe, building it where it isn't there; waits for somebody else who is at it."""
    folder = folder_of(cache, release, surroundings)
    if finished := read(folder):
        return finished
    with held(lock(cache, release), progress, f"another run that builds the {release} base"):
        if finished := read(folder):
            return finished
        clear_old(folder, f"{release}-*")
        return _build(folder, release, surroundings, progress)


def lock(cache: Path, release: str) -> Path:
    """Return the lock of whoever builds such a base, or takes care that it stays."""
    return cache / "locks" / f"base-{release}.lock"


def stood_on() -> set[str]:
    """Return the folders of the bases that nodes of this checkout's labs stand on."""
    return {path.read_text().split("\n")[0] for path in CHECKOUT.glob(".lab/*/nodes/*/base")}


def run_inside(root: Path, script: str, log: Path, step: Step, **variables: str) -> None:
    """Run a shell script in the system in `root`, which has /proc meanwhile."""
    words = [f"{name}={value}" for name, value in variables.items()]
    mounted = 'mount -t proc proc "$1/proc"; shift; exec "$@"'
    run_logged(
        ["sh", "-c", mounted, "sh", str(root), "chroot", str(root), "env", *words, "sh", "-c", script], log, step
    )


def begin(folder: Path) -> Path:
    """Return a new place in which to build what will be in `folder`, so that a base is either whole or not there."""
    temporary = _building(folder) / folder.name
    for directory in (folder.parent, temporary):
        directory.mkdir(parents=True, exist_ok=True)
    temporary.chmod(0o700)
    return temporary


def new_log(cache: Path, name: str) -> Path:
    """Return an empty log of a build; its folder may be missing where somebody cleared away logs and kept the bases."""
    log = cache / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    return log


def publish(temporary: Path, folder: Path, release: str) -> Base:
    """Give a build that is finished its id and its place."""
    build_id = uuid.uuid4().hex
    (temporary / "base.json").write_text(json.dumps({"build": build_id, "release": release}) + "\n")
    temporary.rename(folder)
    return Base(folder / "root", build_id)


def clear_old(keep: Path, pattern: str) -> None:
    """Make room for the base `keep`, which is about to be built.

    What goes is what an interrupted build left, and, of bases whose names are like the pattern, those that no lab of
    this checkout stands on.
    """
    in_use = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    standing = stood_on()
    for folder in keep.parent.glob(pattern):
        if folder == keep or (str(folder) not in in_use and str(folder) not in standing):
            shutil.rmtree(folder)
    for folder in _building(keep).glob(pattern):
        shutil.rmtree(folder)


def _building(folder: Path) -> Path:
    """Return the folder of unfinished builds, on the same file system as the finished ones."""
    return folder.parent.with_name(f"building-{folder.parent.name}")


def _build(folder: Path, release: str, surroundings: Surroundings, progress: Progress) -> Base:
    began = time.monotonic()
    temporary = begin(folder)
    root = temporary / "root"
    log = new_log(folder.parent.parent, f"base-{release}")
    progress.say(f"building the {release} base from {surroundings.mirror} (once; about 0.2 GB to download)")
    with progress.step("debootstrap: the smallest Debian with systemd, Python and SSH") as step:
        include = f"--include={','.join(INSTALLED)}"
        run_logged(["debootstrap", "--variant=minbase", include, release, str(root), surroundings.mirror], log, step)
    _configure(root, release, surroundings)
    with progress.step("downloading the packages that the roles will install") as step:
        run_inside(root, SETUP, log, step, DOWNLOADED=" ".join(DOWNLOADED))
    with progress.step("writing it to the disk"):
        succeeds(["sync", "--file-system", str(root)], timeout_s=300)
    finished = publish(temporary, folder, release)
    progress.say(f"the {release} base is ready after {time.monotonic() - began:.0f} s: {folder}")
    return finished


def _configure(root: Path, release: str, surroundings: Surroundings) -> None:
    """Write what the set-up needs: sources, certificate authorities, apt's settings, name resolution."""
    etc = root / "etc"
    for leftover in (etc / "apt/sources.list.d").glob("*"):
        leftover.unlink()
    (etc / "resolv.conf").unlink(missing_ok=True)
    write_atomically(etc / "resolv.conf", surroundings.resolv_conf() or "\n")
    write_atomically(etc / "apt/sources.list", sources(release, surroundings))
    write_atomically(etc / "apt/apt.conf.d/90lab", APT_CONF)
    write_atomically(etc / "apt/apt.conf.d/91lab-network", surroundings.apt_conf())
    authorities = root / "usr/local/share/ca-certificates"
    authorities.mkdir(parents=True, exist_ok=True)
    for path in surroundings.authorities:
        shutil.copyfile(path, authorities / re.sub(r"[^A-Za-z0-9_.-]", "_", path.name))
