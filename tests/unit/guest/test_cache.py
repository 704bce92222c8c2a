"""When an image is built, when it is only found, and what a failure leaves behind."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from guest import __main__ as command
from guest import build as building
from guest import packages
from guest.errors import GuestError
from guest.packages import Package


class Apt:
    """What the machine's apt knows; stands in for apt and for the making of the image."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stamp = "monday"
        self.version = "1"
        self.made = 0
        self.asked = 0
        self.failure: Exception | None = None
        monkeypatch.setattr(packages, "index_stamp", lambda: self.stamp)
        monkeypatch.setattr(packages, "resolve", self._resolve)
        monkeypatch.setattr(building, "_make_image", self._make)

    def _resolve(self) -> list[Package]:
        self.asked += 1
        return [Package("busybox-static", self.version, "00")]

    def _make(self, wanted: list[Package], scratch: Path, *, pool: Path, progress: Callable[[str], None]) -> Path:
        if self.failure:
            raise self.failure
        self.made += 1
        image = scratch / "image"
        image.write_bytes(f"{wanted[0].version} {self.made}".encode())
        return image


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Apt:
    return Apt(monkeypatch)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "images" / "guest.qcow2"


def build(output: Path, *, force: bool = False) -> building.Built:
    return building.build(output, progress=lambda _: None, force=force)


def test_the_second_call_finds_the_first_one_s_image_without_asking_apt(apt: Apt, output: Path) -> None:
    first, second = build(output), build(output)
    assert (first.is_new, second.is_new) == (True, False)
    assert (apt.made, apt.asked) == (1, 1)
    assert first.sha256 == second.sha256 == hashlib.sha256(output.read_bytes()).hexdigest()
    assert output.with_name("guest.qcow2.sha256").read_text() == f"{first.sha256}  guest.qcow2\n"


def test_a_new_index_with_the_same_versions_builds_nothing(apt: Apt, output: Path) -> None:
    build(output)
    apt.stamp = "tuesday"
    assert not build(output).is_new
    assert not build(output).is_new
    assert (apt.made, apt.asked) == (1, 2)


def test_a_new_version_builds_anew(apt: Apt, output: Path) -> None:
    build(output)
    apt.stamp, apt.version = "tuesday", "2"
    assert build(output).is_new
    assert output.read_bytes() == b"2 2"


def test_force_and_a_damaged_image_build_anew(apt: Apt, output: Path) -> None:
    build(output)
    assert build(output, force=True).is_new
    output.write_bytes(b"cut")
    assert build(output).is_new
    output.with_name("guest.qcow2.json").write_text("{")
    assert build(output).is_new


def test_a_lost_sum_is_written_again(apt: Apt, output: Path) -> None:
    build(output)
    sums = output.with_name("guest.qcow2.sha256")
    sums.unlink()
    assert not build(output).is_new
    assert sums.is_file()


def test_a_failure_keeps_the_old_image_and_leaves_no_scraps(apt: Apt, output: Path) -> None:
    build(output)
    apt.stamp, apt.version, apt.failure = "tuesday", "2", OSError(28, "No space left on device")
    with pytest.raises(GuestError, match=r"cannot write .*guest.qcow2: No space left on device"):
        build(output)
    assert output.read_bytes() == b"1 1"
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "guest.qcow2",
        "guest.qcow2.json",
        "guest.qcow2.sha256",
    ]


def test_the_command_ends_with_path_size_and_sum(apt: Apt, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["build", "--output", str(output)]) == 0
    sum_ = hashlib.sha256(output.read_bytes()).hexdigest()
    assert capsys.readouterr().out.startswith(f"{output} 0.0 MiB sha256:{sum_} (built in ")


def test_missing_programs_are_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(packages, "missing_tools", lambda: ["apt", "dpkg"])
    assert command.main(["build"]) == 1
    assert capsys.readouterr().err == "guest: missing programs: run `apt-get install apt dpkg` as root\n"
