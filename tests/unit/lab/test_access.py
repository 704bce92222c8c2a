import shlex
from pathlib import Path

import yaml

from lab import access
from lab.layout import Layout
from tests.unit.lab.test_state import a_state


def test_the_inventory_has_the_groups_the_playbooks_use(tmp_path: Path) -> None:
    inventory = yaml.safe_load(access.inventory(Layout("dev", tmp_path), a_state()))["all"]
    assert list(inventory["children"]["controllers"]["hosts"]) == ["etcd1"]
    assert list(inventory["children"]["computes"]["hosts"]) == ["etcd1", "etcd2"]
    assert inventory["hosts"]["etcd2"] == {"ansible_host": "10.1.2.12"}
    assert inventory["vars"]["ansible_ssh_pipelining"] is True


def test_host_keys_are_checked_against_the_labs_own_file(tmp_path: Path) -> None:
    checkout = tmp_path / "with space"
    inventory = yaml.safe_load(access.inventory(Layout("dev", checkout), a_state()))["all"]
    words = shlex.split(inventory["vars"]["ansible_ssh_common_args"])
    assert f'UserKnownHostsFile="{checkout}/.lab/dev/known_hosts"' in words
    assert "StrictHostKeyChecking=yes" in words


def test_known_hosts_name_every_node_by_address_and_name(tmp_path: Path) -> None:
    layout = Layout("dev", tmp_path)
    layout.keys.mkdir(parents=True)
    for name in ("etcd1", "etcd2"):
        (layout.keys / f"host_{name}.pub").write_text(f"ssh-ed25519 KEY{name} comment\n")
    assert access.known_hosts(layout, a_state()) == (
        "10.1.2.11,etcd1 ssh-ed25519 KEYetcd1\n10.1.2.12,etcd2 ssh-ed25519 KEYetcd2\n"
    )


def test_keys_are_made_once_and_half_a_pair_is_replaced(tmp_path: Path) -> None:
    layout, state = Layout("dev", tmp_path), a_state()
    access.ensure_keys(layout, state)
    user, host = layout.user_key.read_text(), (layout.keys / "host_etcd1").read_text()
    (layout.keys / "host_etcd1.pub").unlink()
    access.ensure_keys(layout, state)
    assert layout.user_key.read_text() == user
    assert (layout.keys / "host_etcd1").read_text() != host
    assert layout.user_key.stat().st_mode & 0o077 == 0
