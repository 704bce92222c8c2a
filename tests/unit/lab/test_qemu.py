import io
import lzma
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from guest.cpio import write_cpio
from guest.tree import Tree
from lab import acceleration, cli, initramfs, processes, sizes, taps
from lab import state as states
from lab.errors import LabError
from lab.layout import Layout
from lab.machine import Lab, Wishes, make_driver
from lab.processes import MachineMarks
from lab.progress import Progress
from lab.qemu import QemuDriver, fstab
from lab.sizes import Sizes
from lab.state import Bind
from tests.unit.lab.test_state import a_state
from tests.unit.lab.test_surroundings import make


def test_a_disk_per_bind_comes_after_the_nodes_own() -> None:
    lines = fstab((Bind("/a", "/srv/images"), Bind("/b", "/with space"))).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["/dev/vda", "/", "ext4"], ["/dev/vdb", "/srv/images", "ext4"], ["/dev/vdc", "/with\\040space", "ext4"]
    ]  # fmt: skip
    assert "growfs" in lines[0]
    assert all(line.split()[3].startswith("ro") for line in lines[1:])


def test_names_of_cards_fit_the_kernel_and_differ(tmp_path: Path) -> None:
    layouts = [Layout("one", tmp_path), Layout("two", tmp_path)]
    names = {taps.name(layout, node) for layout in layouts for node in ("etcd1", "a" * 30, "b" * 30)}
    assert len(names) == 6
    assert all(len(name) <= 15 for name in names)
    assert taps.mac(layouts[0], "etcd1") != taps.mac(layouts[1], "etcd1")


def test_a_machine_is_its_qemu_and_no_other(tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.symlink_to(sys.executable)
    marks = MachineMarks(tmp_path / "etcd1" / "qemu.pid", "etcdcompute-lab-000000-etcd1")
    waiting = ["-c", "print(flush=True); input()"]
    with (
        subprocess.Popen(
            [program, *waiting, "-pidfile", str(marks.pidfile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as node,
        subprocess.Popen(
            [program, *waiting, "-pidfile", str(tmp_path / "etcd2/qemu.pid")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other,
        # An editor with the file open, say.
        subprocess.Popen(
            [sys.executable, *waiting, str(marks.pidfile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as editor,
    ):
        for process in (node, other, editor):
            assert process.stdout is not None
            process.stdout.readline()
        assert [found.pid for found in processes.find(marks)] == [node.pid]
        assert processes.end(marks) == 1
        assert node.wait(10) == -9
        assert (other.poll(), editor.poll()) == (None, None)
        other.kill()
        editor.kill()


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "kernel/fs/ext4.ko.xz: kernel/fs/jbd2.ko.xz kernel/lib/crc16.ko.xz\n"
        "kernel/fs/jbd2.ko.xz: kernel/lib/crc16.ko.xz\n"
        "kernel/lib/crc16.ko.xz:\nkernel/drivers/virtio_blk.ko.xz:\n"
    )
    order = [path.name for path in initramfs.modules_in_order(tmp_path, ["virtio_pci", "virtio_blk", "ext4"])]
    assert order == ["virtio_blk.ko.xz", "crc16.ko.xz", "jbd2.ko.xz", "ext4.ko.xz"]


def test_the_base_archive_has_its_modules_unpacked(tmp_path: Path) -> None:
    modules = tmp_path / "usr/lib/modules/6.12-cloud-amd64"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("virtio_blk.ko.xz:\n")
    (modules / "virtio_blk.ko.xz").write_bytes(lzma.compress(b"the module itself"))
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/busybox").write_bytes(b"busybox")
    archive = initramfs.base_archive(tmp_path)
    assert b"modules/virtio_blk.ko\0" in archive
    assert b"the module itself" in archive


def test_two_kernels_are_one_too_many(tmp_path: Path) -> None:
    for name in ("6.1-cloud", "6.12-cloud"):
        (tmp_path / "usr/lib/modules" / name).mkdir(parents=True)
    with pytest.raises(LabError, match="found 2"):
        initramfs.kernel_release(tmp_path)


def test_a_nodes_archive_keeps_modes_and_links(tmp_path: Path) -> None:
    key = tmp_path / "etc/key"
    key.parent.mkdir()
    key.write_text("secret")
    key.chmod(0o600)
    (tmp_path / "etc/link").symlink_to("key")
    expected = Tree()
    expected.directory("node/etc", mode=key.parent.stat().st_mode & 0o7777)
    expected.file("node/etc/key", b"secret", mode=0o600)
    expected.link("node/etc/link", "key")
    assert initramfs.node_archive(tmp_path) == write_cpio(expected)


@pytest.mark.parametrize(("cpus", "memory"), [("0", None), ("two", None), (None, "12"), (None, "-1")])
def test_sizes_that_are_none_are_refused_by_name(cpus: str | None, memory: str | None) -> None:
    with pytest.raises(LabError, match="LAB_VM_CPUS" if cpus else "LAB_VM_MEMORY_MIB"):
        sizes.parse(cpus, memory, None)


def test_what_is_not_said_about_sizes_is_the_default() -> None:
    assert sizes.parse(None, None, None) is None
    assert sizes.parse(None, "4096", None) == replace(sizes.default_for(3), memory_mib=4096)


def test_a_state_with_sizes_is_read_back(tmp_path: Path) -> None:
    state = replace(a_state(), driver="vm", sizes=Sizes(1, 1024, 8), acceleration="tcg", acceleration_reason="why")
    states.save(state, tmp_path / "state.json")
    assert states.load(tmp_path / "state.json") == state


def test_a_lab_of_one_kind_does_not_become_another(tmp_path: Path) -> None:
    lab = Lab(Layout("dev", tmp_path), Progress(io.StringIO()))
    with pytest.raises(LabError, match="nodes that are container instead of vm"):
        lab._refuse_changes(a_state(), Wishes(kind="vm"))
    lab._refuse_changes(a_state(), Wishes())


def test_machines_take_the_memory_they_are_given(tmp_path: Path) -> None:
    driver = make_driver("vm", Layout("dev", tmp_path), make())
    assert isinstance(driver, QemuDriver)
    small = driver.needs(replace(a_state(), sizes=Sizes(1, 1024, 8)))
    large = driver.needs(replace(a_state(), sizes=Sizes(1, 4096, 8)))
    assert large.memory_mib - small.memory_mib == 3072
    assert small.base_mib > 0  # it has to be built


def test_a_file_cannot_be_shown_to_machines(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    driver = make_driver("vm", Layout("dev", tmp_path), make())
    state = replace(a_state(), binds=(Bind(str(tmp_path / "file"), "/file"),))
    (problem,) = driver.problems(state, 1)
    assert "is a file" in problem


def test_an_unknown_kind_or_accelerator_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_become_root", lambda _arguments: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("LAB_NODES", "pods")
    assert cli.main(["up", "--name", "never-made"]) == 1
    assert "LAB_NODES=pods is not known: nodes are one of container, vm" in capsys.readouterr().err
    monkeypatch.setenv("LAB_VM_ACCEL", "turbo")
    with pytest.raises(LabError, match="LAB_VM_ACCEL=turbo"):
        acceleration.choose()


@pytest.mark.parametrize(("version", "has_it"), [("7.2.22 (Debian 1:7.2+dfsg-7)", False), ("10.0.2 (Debian)", True)])
def test_an_emulation_that_breaks_kernels_is_not_offered_to_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, has_it: bool
) -> None:
    qemu = tmp_path / acceleration.QEMU
    qemu.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version}'\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (processor,) = [each for each in acceleration.Acceleration("tcg", "").arguments if each.startswith("max")]
    assert ("cx16=off" not in processor) == has_it
    assert "-cpu host" in " ".join(acceleration.Acceleration("kvm", "").arguments)
