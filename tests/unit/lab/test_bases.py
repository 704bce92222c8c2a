"""What nodes are made from: with the packages installed, or only downloaded."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab import base, cli, installedbase
from lab import state as states
from lab.errors import LabError
from lab.layout import Layout
from lab.machine import Lab, Wishes, make_driver
from lab.progress import Progress
from tests.unit.lab.test_state import a_state
from tests.unit.lab.test_surroundings import make


def finish(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "base.json").write_text(json.dumps({"build": "b"}))


def test_only_what_is_not_there_is_to_be_built(tmp_path: Path) -> None:
    layout, surroundings = Layout("dev", tmp_path), make()
    driver = make_driver("container", layout, surroundings)
    downloaded = replace(a_state(), packages="downloaded")
    installed = replace(a_state(), packages="installed")
    assert driver.needs(downloaded).base_mib == base.SIZE_MIB
    assert driver.needs(installed).base_mib == base.SIZE_MIB + installedbase.SIZE_MIB
    finish(base.folder_of(layout.cache, "trixie", surroundings))
    assert driver.needs(downloaded).base_mib == 0
    assert driver.needs(installed).base_mib == installedbase.SIZE_MIB
    finish(installedbase.folder_of(layout.cache, "trixie", surroundings))
    assert driver.needs(installed).base_mib == 0


def test_packages_of_machines_are_installed_ones(tmp_path: Path) -> None:
    lab = Lab(Layout("dev", tmp_path), Progress(io.StringIO()))
    assert lab._decide(None, Wishes(kind="vm"), make()).packages == "installed"
    with pytest.raises(LabError, match="packages downloaded is for containers"):
        lab._decide(None, Wishes(kind="vm", packages="downloaded"), make())
    assert lab._decide(None, Wishes(packages="downloaded"), make()).packages == "downloaded"


def test_a_lab_keeps_the_packages_it_was_made_with(tmp_path: Path) -> None:
    lab = Lab(Layout("dev", tmp_path), Progress(io.StringIO()))
    states.save(a_state(), tmp_path / "state.json")
    written = json.loads((tmp_path / "state.json").read_text())
    # As by a version that did not know the choice.
    del written["packages"]
    (tmp_path / "state.json").write_text(json.dumps(written))
    old = states.load(tmp_path / "state.json")
    assert old is not None
    lab._refuse_changes(old, Wishes())
    with pytest.raises(LabError, match="packages downloaded instead of installed"):
        lab._refuse_changes(old, Wishes(packages="installed"))


def test_unknown_packages_are_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "_become_root", lambda _arguments: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("LAB_PACKAGES", "some")
    assert cli.main(["up", "--name", "never-made"]) == 1
    assert "LAB_PACKAGES=some is not known: packages are one of installed, downloaded" in capsys.readouterr().err


def test_old_bases_go_but_those_that_labs_stand_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CHECKOUT", tmp_path)
    bases = tmp_path / "bases"
    for name in ("trixie-new", "trixie-old", "trixie-used", "bookworm-other"):
        (bases / name).mkdir(parents=True)
    interrupted = base.begin(bases / "trixie-interrupted")
    node = tmp_path / ".lab" / "dev" / "nodes" / "etcd1"
    node.mkdir(parents=True)
    (node / "base").write_text(f"{bases / 'trixie-used'}\nb\n")
    # Nobody could read what is in the place of the one to be built.
    base.clear_old(bases / "trixie-new", "trixie-*")
    assert sorted(path.name for path in bases.iterdir()) == ["bookworm-other", "trixie-used"]
    assert not interrupted.exists()
