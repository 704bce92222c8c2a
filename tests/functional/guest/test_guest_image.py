"""The guest image, booted for real in software emulation."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from guest.build import DEFAULT_OUTPUT, build
from tests.functional.guest.machine import Machine, make_key, write_seed

DHCP = "version: 2\nethernets:\n  id0:\n    match: {macaddress: '52:54:00:12:34:56'}\n    dhcp4: true\n"


def on_virtio(seed: Path) -> list[str]:
    return ["-drive", f"file={seed},format=raw,readonly=on,if=virtio"]


def on_ide(seed: Path) -> list[str]:
    return ["-drive", f"file={seed},format=raw,readonly=on,media=cdrom,if=ide"]


def on_scsi(seed: Path) -> list[str]:
    drive = f"file={seed},format=raw,readonly=on,media=cdrom,if=none,id=seed"
    return ["-device", "virtio-scsi-pci", "-drive", drive, "-device", "scsi-cd,drive=seed"]


def metadata(instance: str, name: str, *keys: str) -> str:
    return f"instance-id: {instance}\nlocal-hostname: {name}\npublic-keys:\n" + "".join(f"- {key}\n" for key in keys)


@pytest.fixture(scope="session")
def image() -> Path:
    return build(Path(__file__).parents[3] / DEFAULT_OUTPUT, progress=print).path


@pytest.fixture
def disk(image: Path, tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    base = ["-b", str(image), "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path), "1G"], check=True)
    return path


def test_the_image_is_sound_and_its_sum_lies_beside_it(image: Path) -> None:
    subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)
    sums = image.with_name(image.name + ".sha256").read_text()
    assert sums == f"{hashlib.sha256(image.read_bytes()).hexdigest()}  {image.name}\n"


def test_an_instance_s_life(disk: Path, tmp_path: Path) -> None:
    """First boot, reboot, the power button; then its disk becomes another instance's."""
    key, other = tmp_path / "key", tmp_path / "other"
    public, other_public = make_key(key), make_key(other)
    script = "#!/bin/sh\necho $(hostname) >> /root/script-ran\n"
    seed = write_seed(
        tmp_path / "seed.iso",
        {"meta-data": metadata("i-1", "web1", public), "user-data": script, "network-config": DHCP},
    )
    with Machine(disk, tmp_path, seed=on_virtio(seed)) as machine:
        assert machine.wait_ready() == ("web1", "10.0.2.15")
        assert machine.output_of("hostname", key=key, new_host=True) == "web1"
        assert machine.ssh("true", key=other).returncode == 255, "a key that the seed does not name"
        machine.wait_for_line("script ended with 0")
        # The root file system follows the disk's size; the image's own is below 128 MiB.
        assert int(machine.output_of("df -m / | awk 'NR == 2 { print $2 }'", key=key)) > 900

        machine.output_of("echo kept > /root/file; reboot", key=key)
        machine.wait_ready(times=2)
        assert machine.output_of("cat /root/file /root/script-ran", key=key) == "kept\nweb1"

        assert machine.press_power_button() == 0
        machine.wait_for_line("web1 is shutting down")

    seed = write_seed(
        tmp_path / "second.iso",
        {
            "meta-data": metadata("i-2", "web2"),
            "user-data": f'#cloud-config\nssh_authorized_keys: ["{other_public}"]\n',
        },
    )
    with Machine(disk, tmp_path, seed=on_ide(seed), cpu="qemu64") as machine:
        assert machine.wait_ready()[0] == "web2"
        assert machine.ssh("true", key=other).returncode == 255, "the first instance's host key"
        assert machine.output_of("cat /root/file", key=other, new_host=True) == "kept"
        assert machine.ssh("true", key=key).returncode == 255, "the first instance's key"


def test_a_cdrom_on_scsi_a_static_address_and_two_processors(disk: Path, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    network = """
        version: 2
        ethernets:
          nic0:
            match: {macaddress: "52:54:00:12:34:56"}
            addresses: [10.0.2.99/24]
            gateway4: 10.0.2.2
            nameservers: {addresses: [10.0.2.3]}
    """
    seed = write_seed(tmp_path / "seed.iso", {"meta-data": metadata("i-1", "db1", public), "network-config": network})
    with Machine(disk, tmp_path, seed=on_scsi(seed), board="q35", cpus=2, address="10.0.2.99") as machine:
        assert machine.wait_ready() == ("db1", "10.0.2.99")
        command = "nproc; ip route | grep ^default; cat /etc/resolv.conf; ip -4 -o addr show eth0 | wc -l"
        printed = machine.output_of(command, key=tmp_path / "key", new_host=True).splitlines()
        assert printed == ["2", "default via 10.0.2.2 dev eth0 ", "nameserver 10.0.2.3", "1"]
        assert machine.press_power_button() == 0


def test_without_a_seed_it_says_so_and_boots(disk: Path, tmp_path: Path) -> None:
    with Machine(disk, tmp_path) as machine:
        machine.wait_for_line("no disk labelled cidata")
        assert machine.wait_ready() == ("guest", "10.0.2.15")
