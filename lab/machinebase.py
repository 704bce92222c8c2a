"""The base of nodes that are machines: a disk, a kernel and an initial RAM disk, made once from the containers'."""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import base, initramfs, installedbase
from lab.commands import run, run_logged
from lab.errors import CommandError
from lab.layout import CHECKOUT
from lab.locks import held
from lab.progress import Progress
from lab.surroundings import Surroundings

SIZE_MIB = 4200  # two trees and two disks, without and with the programs
FILE_SYSTEM_MIB = 4096  # of which only what is used takes room; it grows to the node's disk when a node boots
ADDED = ("linux-image-cloud-amd64", "busybox-static")
SETUP = r"""
set -eu
# Debian's own initial RAM disk is not wanted: the lab has a smaller one.
export INITRD=No
apt-get update
apt-get install --yes --no-install-recommends $PACKAGES
apt-get clean
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
mkdir -p /etc/modules-load.d
printf 'tun\n' >/etc/modules-load.d/lab.conf
rm -f /boot/initrd.img* /initrd.img* /var/log/*.log
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
    parts = [installedbase.recipe(release, surroundings), SETUP, INSTALL_RELEASE, str(FILE_SYSTEM_MIB), *ADDED]
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
    finished = base.read(folder)
    return MachineBase(folder, finished.build) if finished else None


def missing_mib(cache: Path, release: str, surroundings: Surroundings) -> int:
    """Return how much disk it takes to build the base, 0 where it is there."""
    if find(cache, release, surroundings):
        return 0
    return SIZE_MIB + installedbase.missing_mib(cache, release, surroundings)


def build(cache: Path, release: str, surroundings: Surroundings, progress: Progress) -> MachineBase:
    """Return the base of this recipe, building it where it isn't there; waits for somebody else who is at it."""
    folder = folder_of(cache, release, surroundings)
    if finished := read(folder):
        return finished
    source = installedbase.build(cache, release, surroundings, progress)
    with held(cache / "locks" / f"machine-{release}.lock", progress, f"another run that builds the {release} machine"):
        if finished := read(folder):
            return finished
        base.clear_old(folder, f"{release}-*")
        return _build(source.root, folder, release, progress)


def _build(source: Path, folder: Path, release: str, progress: Progress) -> MachineBase:
    temporary = base.begin(folder)
    root = temporary / "root"
    log = base.new_log(folder.parent.parent, f"machine-{release}")
    with progress.step("a copy of the base") as step:
        run_logged(["cp", "--archive", "--reflink=auto", str(source), str(root)], log, step)
    with progress.step("installing a kernel in it") as step:
        base.run_inside(root, SETUP, log, step, PACKAGES=" ".join(ADDED))
    with progress.step("writing it to a disk") as step:
        (temporary / "initrd").write_bytes(initramfs.base_archive(root))
        shutil.copyfile(root / f"boot/vmlinuz-{initramfs.kernel_release(root)}", temporary / "vmlinuz")
        run_logged(make_file_system(root, temporary / "disk.img", FILE_SYSTEM_MIB), log, step)
    run(["sync", "--file-system", str(temporary)], timeout_s=300)
    finished = _publish(temporary, folder, release)
    progress.say(f"the {release} machine is ready: {folder}")
    return finished


def _publish(temporary: Path, folder: Path, release: str) -> MachineBase:
    return MachineBase(folder, base.publish(temporary, folder, release).build)


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
        base.clear_old(folder, f"{base_.folder.name}-*")
        temporary = base.begin(folder)
        root = temporary / "root"
        log = base.new_log(cache, f"programs-{release}")
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
        "--python", installedbase.PYTHONS[release], "--architecture", "x86_64",
        "--cache", str(CHECKOUT / ".cache" / "wheelhouse"),
    ]  # fmt: skip


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
