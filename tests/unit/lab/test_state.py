import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import state as states
from lab.errors import LabError
from lab.layout import Layout, check_name
from lab.nodefiles import hosts, network_unit, write_node_files
from lab.state import Bind, State
from tests.unit.lab.test_surroundings import make


def a_state() -> State:
    net = IPv4Network("10.1.2.0/24")
    return State(
        name="dev",
        driver="container",
        release="trixie",
        subnet=str(net),
        bridge="lab123456",
        table="etcdcompute_lab_dev_123456",
        nodes=states.new_nodes(("etcd1", "etcd2"), net),
        binds=(Bind("/src", "/dst"),),
    )


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = a_state()
    states.save(state, path)
    assert states.load(path) == state
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_no_state_is_none(tmp_path: Path) -> None:
    assert states.load(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": 1, "nodes": 3}'])
def test_a_damaged_state_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(LabError, match="`down`"):
        states.load(path)


def test_nodes_have_machine_ids_of_their_own() -> None:
    ids = {node.machine_id for node in a_state().nodes}
    assert len(ids) == 2
    assert all(len(each) == 32 for each in ids)


def test_an_unknown_node_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LabError, match="etcd1, etcd2"):
        a_state().node("etcd9")


def test_unchanged_content_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    states.write_atomically(path, "text")
    before = path.stat().st_ino
    states.write_atomically(path, "text")
    assert path.stat().st_ino == before
    states.write_atomically(path, "other")
    assert path.read_text() == "other"


def test_every_node_knows_all_names_with_its_own_first() -> None:
    state = a_state()
    lines = hosts(state, state.nodes[1]).splitlines()
    assert lines[2:] == ["10.1.2.12 etcd2", "10.1.2.11 etcd1"]


def test_the_network_unit_has_address_gateway_and_mtu() -> None:
    state = a_state()
    unit = network_unit(state, state.nodes[0], 1400)
    assert "Address=10.1.2.11/24\nGateway=10.1.2.1\n" in unit
    assert "MTUBytes=1400" in unit


def test_a_link_in_the_nodes_root_does_not_lead_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.chown", lambda *_args: None)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "root").mkdir()
    (root / "etc/resolv.conf").symlink_to(victim)
    layout = Layout("dev", tmp_path)
    layout.keys.mkdir(parents=True)
    for name in ("id_ed25519", "host_etcd1"):
        (layout.keys / name).write_text("private")
        (layout.keys / f"{name}.pub").write_text("ssh-ed25519 AAAA comment")
    state = a_state()
    write_node_files(root, layout, state, state.nodes[0], make(pip_conf="[global]\n"))
    assert victim.read_text() == "untouched"
    assert (root / "etc/resolv.conf").read_text() == "nameserver 10.9.9.9\n"
    assert (root / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/hostname").read_text() == "etcd1\n"
    assert (root / "etc/pip.conf").read_text() == "[global]\n"


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "1a", "a/b", "..", "a" * 31, "a\n"])
def test_names_that_would_not_do_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="lower-case letter"):
        check_name(name, "lab")


def test_names_fit_where_the_kernel_limits_them(tmp_path: Path) -> None:
    layout = Layout("molecule-default", tmp_path)
    assert len(layout.bridge) <= 15
    assert "-" not in layout.table
    assert layout.ident != Layout("molecule-default", tmp_path / "other").ident


def test_the_state_file_is_plain_json(tmp_path: Path) -> None:
    states.save(a_state(), tmp_path / "state.json")
    data = json.loads((tmp_path / "state.json").read_text())
    assert data["nodes"][0]["address"] == "10.1.2.11"
