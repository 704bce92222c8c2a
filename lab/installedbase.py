"""The base with the packages that the roles install installed in it, once for all nodes; the roles find them there.

Unpacking them on every node is much of what a first run of the playbook costs, and on an emulated node most of it.
What the packages would start is switched off: the roles start it.
"""

import hashlib
import shutil
from pathlib import Path

from lab import base
from lab.base import Base
from lab.commands import run, run_logged
from lab.locks import held
from lab.progress import Progress
from lab.surroundings import Surroundings

SIZE_MIB = 1300  # on top of the base
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
SETUP = r"""
set -eu
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get update
apt-get install --yes --no-install-recommends $PACKAGES
apt-get clean
for unit in etcd.service libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket \
    libvirt-guests.service virtlogd.service dnsmasq.service; do
    systemctl disable "$unit" || true
done
rm -rf /var/lib/etcd/default
# Enabling a unit that also has such a script runs a Perl program; every reload of systemd's reads them all.
rm -f /etc/init.d/*
rm -f /var/log/*.log /etc/machine-id
touch /etc/machine-id
"""
_ZIPCACHE = Path(__file__).parent / "files" / "zipcache"


def recipe(release: str, surroundings: Surroundings) -> str:
    """Return a hash over everything that decides what is in the base, less the packages' versions."""
    parts = [base.recipe(release, surroundings), SETUP, _ZIPCACHE.read_text(encoding="utf-8")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def folder_of(cache: Path, release: str, surroundings: Surroundings) -> Path:
    """Return where the base of this recipe is, or will be."""
    return cache / "installed" / f"{release}-{recipe(release, surroundings)}"


def find(cache: Path, release: str, surroundings: Surroundings) -> Base | None:
    """Return the finished base of this recipe, None where it has to be built."""
    return base.read(folder_of(cache, release, surroundings))


def missing_mib(cache: Path, release: str, surroundings: Surroundings) -> int:
    """Return how much disk it takes to build the base, 0 where it is there."""
    if find(cache, release, surroundings):
        return 0
    return SIZE_MIB + base.missing_mib(cache, release, surroundings)


def build(cache: Path, release: str, surroundings: Surroundings, progress: Progress) -> Base:
    """Return the base of this recipe, building it where it isn't there; waits for somebody else who is at it."""
    folder = folder_of(cache, release, surroundings)
    if finished := base.read(folder):
        return finished
    source = base.build(cache, release, surroundings, progress)
    with held(cache / "locks" / f"installed-{release}.lock", progress, f"another run that installs in {release}"):
        if finished := base.read(folder):
            return finished
        base.clear_old(folder, f"{release}-*")
        temporary = base.begin(folder)
        root = temporary / "root"
        log = base.new_log(cache, f"installed-{release}")
        with (
            progress.step(f"a copy of the {release} base") as step,
            # Nobody clears it away meanwhile.
            held(base.lock(cache, release), progress, f"another run that builds the {release} base"),
        ):
            run_logged(["cp", "--archive", "--reflink=auto", str(source.root), str(root)], log, step)
        with progress.step("installing the packages that the roles need in it") as step:
            base.run_inside(root, SETUP, log, step, PACKAGES=" ".join(base.DOWNLOADED))
            _keep_bytecode(root, release)
            run(["sync", "--file-system", str(root)], timeout_s=300)
        return base.publish(temporary, folder, release)


def _keep_bytecode(root: Path, release: str) -> None:
    """Have Python keep the bytecode of Ansible's modules: it halves what a task costs an emulated node."""
    packages = root / "usr/lib/python3/dist-packages"
    shutil.copyfile(_ZIPCACHE, packages / "etcdcompute_lab.py")
    (packages / "etcdcompute_lab.pth").write_text("import etcdcompute_lab\n")
    tag = f"cpython-{PYTHONS[release].replace('.', '')}"
    (root / "var/cache/etcdcompute-lab" / tag).mkdir(parents=True)
