"""The base of nodes that are machines: a disk, a kernel and an initial RAM disk, made once from the containers' base.

The packages that the roles install are installed in it, for unpacking them takes minutes where every instruction is
emulated; the roles find them there. What those packages would start is switched off: the roles start it.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import base, initramfs
from lab.commands import run, run_logged
from lab.errors import CommandError
from lab.layout import CHECKOUT
from lab.locks import held
from lab.progress import Progress
from lab.surroundings import Surroundings

SIZE_MIB = 4200  # two trees and two disks: the base, and the base with the programs
FILE_SYSTEM_MIB = 4096  # of which only what is used takes room; it grows to the node's disk when a node boots
ADDED = ("linux-image-cloud-amd64", "busybox-static")
SETUP = r"""
set -eu
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
# Debian's own initial RAM disk is not wanted: the lab has a smaller one.
export INITRD=No
apt-get update
apt-get install --yes --no-install-recommends $INSTALLED
apt-get clean
for unit in etcd.service libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket \
    libvirt-guests.service virtlogd.service dnsmasq.service; do
    systemctl disable "$unit" || true
done
rm -rf /var/lib/etcd/default
# What a lab does without, each seconds of an emulated boot.
systemctl mask ldconfig.service systemd-pstore.service systemd-update-utmp.service logrotate.timer \
    systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount systemd-update-done.service systemd-udev-load-credentials.service \
    systemd-network-generator.service getty@tty1.service sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount
# A login starts no manager of the user's units: emulated, that takes longer than what one logs in for.
sed -i '/pam_systemd\.so/d' /etc/pam.d/common-session
# Where it is written at every boot: a serial line, and whoever reads it is root of this machine already.
mkdir -p /etc/systemd/system/serial-getty@ttyS0.service.d
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 %%I vt220\n' \
    >/etc/systemd/system/serial-getty@ttyS0.service.d/lab.conf
# Enabling a unit that also has such a script runs a Perl program; every reload of systemd's reads them all.
rm -f /etc/init.d/*
mkdir -p /etc/modules-load.d
printf 'tun\n' >/etc/modules-load.d/lab.conf
rm -f /boot/initrd.img* /initrd.img* /var/log/*.log /etc/machine-id
touch /etc/machine-id
"""


# What the role `stack` does on a node (roles/stack/tasks/release.yml), which then finds this release in use.
INSTALL_RELEASE = r"""
set -eu
release=/opt/etcdcompute.releases/$RELEASE
mkdir -p "$release"
tar --extract --file /tmp/wheels.tar --directory "$release" --no-same-owner
/usr/bin/python3 -m venv --without-pip --system-site-packages "$release"
/usr/bin/python3 "$release/pip.whl/pip" --python="$release/bin/python" install --quiet --no-index \
    --find-links="$release/wheels" --ignore-installed --no-cache-dir --root-user-action=ignore \
    --disable-pip-version-check 'etcdcompute[neo4j]'
ln -s "$release" /opt/etcdcompute
ln -s /opt/etcdcompute/bin/etcdcompute /usr/local/bin/etcdcompute
rm -rf "$release/wheels" "$release/pip.whl" /tmp/wheels.tar
"""
_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}


@dataclass(frozen=True, slots=True)
class MachineBase:
    """A finished base: its folder, and the id of the build."""

    folder: Path
    build: str

    @property
    def disk(self) -> Path:
        """The disk, raw, that nodes' disks are overlays of."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The first part of the initial RAM disk."""
        return self.folder / "initrd"


def recipe(release: str, surroundings: Surroundings) -> str:
    """Return a hash over everything that decides what is in the base, less the packages' versions."""
    code = (Path(initramfs.__file__), *sorted((Path(__file__).parent / "files").iterdir()))
    parts = [base.recipe(release, surroundings), SETUP, INSTALL_RELEASE, str(FILE_SYSTEM_MIB), *ADDED]
    parts += [path.read_text(encoding="utf-8") for path in code if path.is_file()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def folder_of(cache: Path, release: str, surroundings: Surroundings) -> Path:
    """Return where the base of this recipe is, or will be."""
    return cache / "machines" / f"{release}-{recipe(release, surroundings)}"


def find(cache: Path, release: str, surroundings: Surroundings) -> MachineBase | None:
    """Return the finished base of this recipe, None where it has to be built."""
    return read(folder_of(cache, release, surroundings))


def read(folder: Path) -> MachineBase | None:
    """Return the finished base in `folder`, None where there is none."""
    try:
        return MachineBase(folder, json.loads((folder / "base.json").read_text())["build"])
    except (OSError, ValueError, KeyError):
        return None


def build(cache: Path, release: str, surroundings: Surroundings, progress: Progress) -> MachineBase:
    """Return the base of this recipe, building it where it isn't there; waits for somebody else who is at it."""
    folder = folder_of(cache, release, surroundings)
    if finished := read(folder):
        return finished
    source = base.build(cache, release, surroundings, progress)
    with held(cache / "locks" / f"machine-{release}.lock", progress, f"another run that builds the {release} machine"):
        if finished := read(folder):
            return finished
        _clean(cache, release, keep=folder)
        return _build(source.root, folder, release, progress)


def _clean(cache: Path, release: str, keep: Path) -> None:
    """Remove what an interrupted build left, and bases of older recipes that no lab of this checkout stands on."""
    standing = base.stood_on()
    for folder in (cache / "machines").glob(f"{release}-*"):
        if folder == keep or str(folder) not in standing:
            shutil.rmtree(folder)
    for folder in (cache / "building-machines").glob(f"{release}-*"):
        shutil.rmtree(folder)


def _build(source: Path, folder: Path, release: str, progress: Progress) -> MachineBase:
    """Build in a temporary place and rename it, so that a base is either whole or not there."""
    cache = folder.parent.parent
    temporary = cache / "building-machines" / folder.name
    root = temporary / "root"
    log = _log(cache, release)
    for directory in (folder.parent, temporary):
        directory.mkdir(parents=True, exist_ok=True)
    temporary.chmod(0o700)
    log.write_text("")
    with progress.step("a copy of the base") as step:
        run_logged(["cp", "--archive", "--reflink=auto", str(source), str(root)], log, step)
    with progress.step("installing a kernel, and the packages that the roles need, in it") as step:
        base.run_inside(root, SETUP, log, step, INSTALLED=" ".join((*ADDED, *base.DOWNLOADED)))
    _keep_bytecode(root, release)
    with progress.step("writing it to a disk") as step:
        (temporary / "initrd").write_bytes(initramfs.base_archive(root))
        shutil.copyfile(root / f"boot/vmlinuz-{initramfs.kernel_release(root)}", temporary / "vmlinuz")
        run_logged(make_file_system(root, temporary / "disk.img", FILE_SYSTEM_MIB), log, step)
    run(["sync", "--file-system", str(temporary)], timeout_s=300)
    finished = _publish(temporary, folder, release)
    progress.say(f"the {release} machine is ready: {folder}")
    return finished


def _publish(temporary: Path, folder: Path, release: str) -> MachineBase:
    base.publish(temporary, folder, release)
    finished = read(folder)
    assert finished is not None  # noqa: S101 -- written a line ago
    return finished


def _log(cache: Path, release: str) -> Path:
    """Return the builds' log; its folder may be missing where somebody cleared away logs and kept the bases."""
    log = cache / "logs" / f"machine-{release}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def _keep_bytecode(root: Path, release: str) -> None:
    """Have Python keep the bytecode of Ansible's modules: it halves what a task costs an emulated node."""
    packages = root / "usr/lib/python3/dist-packages"
    shutil.copyfile(Path(__file__).parent / "files" / "zipcache", packages / "etcdcompute_lab.py")
    (packages / "etcdcompute_lab.pth").write_text("import etcdcompute_lab\n")
    tag = f"cpython-{_PYTHONS[release].replace('.', '')}"
    (root / "var/cache/etcdcompute-lab" / tag).mkdir(parents=True)


def with_release(base_: MachineBase, release: str, progress: Progress) -> MachineBase:
    """Return the base with the project's programs installed as the role would, made anew when their sources change.

    Where their archive cannot be made the base comes back as it is: the role then installs them, or says what is wrong.
    """
    try:
        found = json.loads(run(_wheelhouse_command(release), timeout_s=900))
    except (CommandError, ValueError, KeyError):
        progress.say("  the programs are not installed in the base; the playbook will do it")
        return base_
    cache = base_.folder.parent.parent
    folder = base_.folder.with_name(f"{base_.folder.name}-{found['release']}")
    with held(cache / "locks" / f"machine-{release}.lock", progress, f"another run that builds the {release} machine"):
        if finished := read(folder):
            return finished
        _clean_releases(base_, keep=folder)
        temporary = cache / "building-machines" / folder.name
        root = temporary / "root"
        temporary.mkdir(parents=True, mode=0o700)
        log = _log(cache, release)
        with progress.step(f"installing etcd-compute {found['release']} in a copy of the machine") as step:
            run_logged(["cp", "--archive", "--reflink=auto", str(base_.folder / "root"), str(root)], log, step)
            shutil.copyfile(found["archive"], root / "tmp/wheels.tar")
            base.run_inside(root, INSTALL_RELEASE, log, step, RELEASE=found["release"])
            run_logged(make_file_system(root, temporary / "disk.img", FILE_SYSTEM_MIB), log, step)
            for name in ("vmlinuz", "initrd"):
                shutil.copyfile(base_.folder / name, temporary / name)
            run_logged(["rm", "-rf", str(root)], log, step)
        return _publish(temporary, folder, release)


def _wheelhouse_command(release: str) -> list[str]:
    """Return the role's own command for the archive of the programs, with the role's own cache."""
    script = CHECKOUT / "roles" / "stack" / "files" / "build_wheelhouse.py"
    python = CHECKOUT / ".venv" / "bin" / "python"
    return [
        str(python if python.exists() else sys.executable), str(script), "--source", str(CHECKOUT),
        "--python", _PYTHONS[release], "--architecture", "x86_64", "--cache", str(CHECKOUT / ".cache" / "wheelhouse"),
    ]  # fmt: skip


def _clean_releases(base_: MachineBase, keep: Path) -> None:
    """Remove bases with other releases that no lab of this checkout stands on, and what an interrupted build left."""
    standing = base.stood_on()
    for folder in base_.folder.parent.glob(f"{base_.folder.name}-*"):
        if folder != keep and str(folder) not in standing:
            shutil.rmtree(folder)
    for folder in (base_.folder.parent.parent / "building-machines").glob(f"{base_.folder.name}-*"):
        shutil.rmtree(folder)


def make_file_system(tree: Path, image: Path, size_mib: int, *, journal: bool = True) -> list[str]:
    """Return the command that makes an ext4 file system of a folder in a plain file: no mount, no loop device.

    Nothing is left for the node's kernel to initialise later, and metadata has no checksums: emulated, either costs
    more than it is worth on a virtual disk. The tables have room for growing to 1 TiB.
    """
    features = "^metadata_csum,^64bit" + ("" if journal else ",^has_journal")
    return [
        "mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), "-m", "0", "-i", "32768", "-O", features,
        *(["-J", "size=32"] if journal else []),
        "-E", f"lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,resize={2**40 // 4096}", "-b", "4096",
        str(image), f"{size_mib}M",
    ]  # fmt: skip
