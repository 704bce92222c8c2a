"""Whether KVM is used, and the reason given."""

from pathlib import Path

import pytest

from etcdcompute.agent.probe import BOOT_SECTOR, GuestRun, choose_virtualisation

SVM = frozenset({"svm"})


@pytest.mark.parametrize(
    ("kvm", "tcg", "virt_type", "said"),
    [
        (GuestRun(0.3), GuestRun(0.4), "kvm", "ran under KVM in 0.3 s"),
        (GuestRun(10, "hung: it was not through in 10 s"), GuestRun(0.4), "qemu", "a probe guest hung"),
        (GuestRun(3.4), GuestRun(0.2), "qemu", "took 3.4 s with it, 0.2 s without"),
        (GuestRun(5.9), GuestRun(13.0), "kvm", "in 5.9 s, without it in 13.0 s"),
    ],
)
def test_the_guest_decides(tmp_path: Path, kvm: GuestRun, tcg: GuestRun, virt_type: str, said: str) -> None:
    device = tmp_path / "kvm"
    device.touch()
    runs = {"kvm": kvm, "tcg": tcg}
    chosen = choose_virtualisation("auto", cpu_flags=SVM, device=device, run_guest=lambda name, _limit: runs[name])
    assert chosen.virt_type == virt_type
    assert said in chosen.reason


def test_kvm_gets_as_long_as_emulation_needs(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    limits: dict[str, float] = {}

    def run_guest(accelerator: str, limit_s: float) -> GuestRun:
        limits[accelerator] = limit_s
        return GuestRun(40.0 if accelerator == "tcg" else 20.0)

    assert choose_virtualisation("auto", cpu_flags=SVM, device=device, run_guest=run_guest).virt_type == "kvm"
    assert limits["kvm"] > 40


def never(_accelerator: str, _limit_s: float) -> GuestRun:
    raise AssertionError("no guest is needed")


def test_what_needs_no_guest(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    absent = choose_virtualisation("auto", cpu_flags=SVM, device=device, run_guest=never)
    assert (absent.virt_type, "there is no" in absent.reason) == ("qemu", True)
    device.touch()
    plain = choose_virtualisation("auto", cpu_flags=frozenset(), device=device, run_guest=never)
    assert (plain.virt_type, "neither svm nor vmx" in plain.reason) == ("qemu", True)
    for wanted in ("kvm", "qemu"):
        chosen = choose_virtualisation(wanted, cpu_flags=frozenset(), device=device, run_guest=never)
        assert (chosen.virt_type, "agent.virt_type" in chosen.reason) == (wanted, True)


def test_the_guest_is_a_boot_sector() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR.endswith(b"\x55\xaa")
