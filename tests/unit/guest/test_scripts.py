"""The guest's shell functions, run by the building machine's own shell."""

import subprocess
from pathlib import Path

import pytest

import guest

FILES = Path(guest.__file__).parent / "files"
LIBRARY = FILES / "root/usr/lib/etcdcompute-guest"
SCRIPTS = sorted(path for path in FILES.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!"))


def run(library: str, command: str, directory: Path) -> list[str]:
    script = f'. "{LIBRARY}/{library}"; RUN="{directory}"; {command}'
    return subprocess.run(["sh", "-c", script], text=True, capture_output=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("script", [*SCRIPTS, LIBRARY / "seed", LIBRARY / "network"], ids=lambda path: path.name)
def test_every_script_parses(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_keys_come_from_both_documents_once_each(tmp_path: Path) -> None:
    (tmp_path / "meta").write_text("instance-id=i\npublic-keys/0=ssh-ed25519 AAAA a\npublic-keys/1=ssh-rsa BBBB\n")
    (tmp_path / "user").write_text(
        "hostname=h\nssh_authorized_keys/0=ssh-ed25519 AAAA a\nusers/1/ssh_authorized_keys/0=restrict ssh-rsa CCCC\n"
    )
    assert run("seed", "authorize", tmp_path) == ["ssh-ed25519 AAAA a", "ssh-rsa BBBB", "restrict ssh-rsa CCCC"]


def test_keys_of_the_ec2_style_are_found(tmp_path: Path) -> None:
    (tmp_path / "meta").write_text("public-keys/0/openssh-key=ssh-ed25519 AAAA\n")
    assert run("seed", "authorize", tmp_path) == ["ssh-ed25519 AAAA"]


NETWORK = """\
version=2
ethernets/a/match/macaddress=52:54:00:AB:CD:EF
ethernets/a/addresses/0=192.0.2.5/24
ethernets/a/routes/0/to=198.51.100.0/24
ethernets/a/routes/0/via=192.0.2.9
ethernets/a/routes/1/to=default
ethernets/a/routes/1/via=192.0.2.1
ethernets/eth1/dhcp4=true
"""


@pytest.mark.parametrize(
    ("card", "mac", "entry"),
    [
        ("eth0", "52:54:00:ab:cd:ef", ["a"]),
        ("eth1", "52:54:00:00:00:01", ["eth1"]),
        ("eth2", "52:54:00:00:00:02", [""]),
    ],
)
@pytest.mark.parametrize("prefix", ["", "network/"])
def test_a_card_is_found_by_its_address_or_its_name(
    card: str, mac: str, entry: list[str], prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "network").write_text("".join(prefix + line for line in NETWORK.splitlines(keepends=True)))
    assert run("network", f"entry_for {card} {mac}", tmp_path) == entry


def test_only_the_default_route_is_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "network").write_text(NETWORK)
    assert run("network", "default_routes a", tmp_path) == ["192.0.2.1"]
    assert run("network", "values 'ethernets/a/addresses/*'", tmp_path) == ["192.0.2.5/24"]
