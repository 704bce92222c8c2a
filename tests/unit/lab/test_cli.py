import shutil
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import cli, machine, preflight, subnet
from lab.driver import Needs
from lab.errors import LabError, PreflightError
from lab.layout import Layout
from lab.machine import Lab, Wishes
from lab.progress import Progress
from lab.state import Bind, save
from tests.unit.lab.test_state import a_state


@pytest.fixture(autouse=True)
def _unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "NAME",
        "NODES",
        "RELEASE",
        "SUBNET",
        "NODE_NAMES",
        "MIRROR",
        "VM_CPUS",
        "VM_MEMORY_MIB",
        "VM_DISK_GIB",
    ):
        monkeypatch.delenv(f"LAB_{name}", raising=False)
    monkeypatch.setattr(cli, "_become_root", lambda _arguments: None)
    # What is tested here lies behind the question who runs it.
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_a_bad_release_in_the_environment_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_RELEASE", "sarge")
    assert cli.main(["up"]) == 1
    assert capsys.readouterr().err == "error: LAB_RELEASE=sarge is not known: it is one of trixie, bookworm\n"


@pytest.mark.parametrize("text", ["only", "a:relative", "a:/x/../y", ":"])
def test_a_bind_that_is_not_source_and_absolute_target_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", "--bind", text]) == 1
    assert "SRC:DST" in capsys.readouterr().err


def test_a_bad_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down", "--name", "../x"]) == 1
    assert "not usable" in capsys.readouterr().err


def test_preflight_problems_are_all_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_self: Lab, _wishes: Wishes) -> None:
        raise PreflightError(["one", "two"])

    monkeypatch.setattr(Lab, "up", refuse)
    assert cli.main(["up"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == ["  - one", "  - two"]


def test_options_and_environment_become_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Wishes] = []
    monkeypatch.setattr(Lab, "up", lambda _self, wishes: seen.append(wishes))
    monkeypatch.setenv("LAB_NODE_NAMES", "a, b")
    monkeypatch.setenv("LAB_SUBNET", "10.9.9.0/24")
    assert cli.main(["up", "--release", "bookworm", "--bind", "/src:/dst"]) == 0
    assert seen == [Wishes(("a", "b"), "bookworm", "10.9.9.0/24", (Bind("/src", "/dst"),))]


@pytest.mark.parametrize("arguments", [["kill", "dev", "etcd2"], ["kill", "--name", "dev", "etcd2"]])
def test_a_node_is_named_with_or_without_its_lab(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(Lab, "kill", lambda self, node: seen.append((self.layout.name, node)))
    assert cli.main(arguments) == 0
    assert seen == [("dev", "etcd2")]


def test_a_lab_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="up --name dev"):
        Lab(Layout("dev", tmp_path), Progress()).ssh_command("etcd1")


def test_another_lab_under_a_used_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "fetch_surroundings", lambda _mirror: None)
    layout = Layout("dev", tmp_path)
    layout.folder.mkdir(parents=True)
    save(a_state(), layout.state_file)
    with pytest.raises(LabError, match=r"nodes etcd1,etcd2 instead of a and release trixie instead of bookworm"):
        Lab(layout, Progress()).up(Wishes(nodes=("a",), release="bookworm"))


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = ("debootstrap", "ssh-keygen")
    monkeypatch.setattr("shutil.which", lambda program, **_: None if program in absent else f"/bin/{program}")
    assert preflight.missing_programs() == {"debootstrap": "debootstrap", "ssh-keygen": "openssh-client"}
    assert "`apt-get install debootstrap openssh-client`" in preflight.program_problems()[0]


def test_too_little_disk_says_needed_and_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 3000 * 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage)
    folder = tmp_path / "not" / "there"
    needs = Needs(base_mib=1400, node_mib=2048, memory_mib=700)
    assert preflight.disk_problems(folder, replace(needs, base_mib=0), missing_nodes=1) == []
    (problem,) = preflight.disk_problems(folder, needs, missing_nodes=3)
    assert "7544 MiB needed" in problem
    assert "3000 MiB available" in problem


def test_clean_removes_every_lab_and_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(cli, "CHECKOUT", tmp_path)
    monkeypatch.setattr(preflight, "privilege_problems", list)
    monkeypatch.setattr(Lab, "down", lambda self: seen.append(self.layout.name))
    (tmp_path / ".cache" / "lab" / "bases").mkdir(parents=True)
    (tmp_path / ".cache" / "guest").mkdir()
    for name in ("dev", "lab"):
        (tmp_path / ".lab" / name).mkdir(parents=True)
    assert cli.main(["clean"]) == 0
    assert seen == ["dev", "lab"]
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["guest"]
    assert cli.main(["clean"]) == 0


@pytest.mark.parametrize(("free", "terminal", "password", "expected"), [
    (True, False, False, True),
    (False, False, True, False),
    (False, True, True, True),
    (False, True, False, False),
])  # fmt: skip
def test_sudo_asks_for_a_password_only_at_a_terminal(
    free: bool, terminal: bool, password: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "succeeds", lambda _argv: free)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/sudo")
    monkeypatch.setattr(sys, "stdin", type("Input", (), {"isatty": lambda _self: terminal})())
    answer = subprocess.CompletedProcess[bytes](["sudo"], 0 if password else 1)
    monkeypatch.setattr(subprocess, "run", lambda _argv, **_options: answer)
    assert cli._may_sudo() is expected


def test_a_check_can_leave_out_programs_which_would_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("privilege_problems", "device_problems"):
        monkeypatch.setattr(preflight, name, list)
    monkeypatch.setattr(preflight, "network_problems", lambda _surroundings: [])
    monkeypatch.setattr(preflight, "memory_problems", lambda _needs, _nodes: ["too little memory"])
    monkeypatch.setattr(preflight, "disk_problems", lambda _folder, _needs, **_nodes: [])
    monkeypatch.setattr(preflight, "missing_programs", lambda _programs: {"nft": "nftables"})
    assert cli.main(["check", "--but-programs"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == ["  - too little memory"]
    assert cli.main(["check"]) == 2
    assert "nftables" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_check_sees_what_up_would_see(
    way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("privilege_problems", "device_problems"):
        monkeypatch.setattr(preflight, name, list)
    monkeypatch.setattr(preflight, "network_problems", lambda _surroundings: [])
    monkeypatch.setattr(preflight, "memory_problems", lambda _needs, _nodes: [])
    monkeypatch.setattr(preflight, "disk_problems", lambda _folder, _needs, **_nodes: [])
    monkeypatch.setattr(preflight, "missing_programs", lambda _programs: {})
    monkeypatch.setattr(subnet, "fetch_used", lambda **_how: [IPv4Network("10.9.0.0/16")])
    arguments = ["check", "--name", "planned"]
    assert cli.main(arguments) == 0
    if way == "option":
        arguments += ["--subnet", "10.9.8.0/24"]
    else:
        monkeypatch.setenv("LAB_SUBNET", "10.9.8.0/24")
    assert cli.main(arguments) == 2
    assert "the subnet 10.9.8.0/24 collides with 10.9.0.0/16 on this machine" in capsys.readouterr().err
