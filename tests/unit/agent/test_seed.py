"""The seed, read back."""

import io
from pathlib import Path

import pycdlib
import pytest
import yaml

from etcdcompute.agent.domain_xml import mac_address
from etcdcompute.agent.seed import create_seed, meta_data, network_config
from tests.unit.agent.samples import UUID, make_instance


def read_back(path: Path) -> dict[str, bytes]:
    image = pycdlib.PyCdlib()
    image.open(str(path))
    found = {}
    for name in ("meta-data", "user-data", "network-config"):
        data = io.BytesIO()
        image.get_file_from_iso_fp(data, rr_path=f"/{name}")
        found[name] = data.getvalue()
        again = io.BytesIO()
        image.get_file_from_iso_fp(again, joliet_path=f"/{name}")
        assert again.getvalue() == found[name]
    assert image.pvd.volume_identifier.strip() == b"cidata"
    image.close()
    return found


def test_the_image_holds_what_nocloud_reads(tmp_path: Path) -> None:
    user_data = "#!/bin/sh\necho 'grüß dich: # \"'\n"
    instance = make_instance(user_data=user_data, ssh_keys=("ssh-ed25519 AAAA me@here", "ssh-rsa AAAA== a: b # c"))
    path = tmp_path / "seed.iso"
    create_seed(instance, path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = read_back(path)
    assert found["user-data"] == user_data.encode()
    assert yaml.safe_load(found["meta-data"]) == {
        "instance-id": UUID,
        "local-hostname": "web1",
        "public-keys": list(instance.ssh_keys),
    }
    network = yaml.safe_load(found["network-config"])
    assert network["version"] == 2
    assert [each["match"]["macaddress"] for each in network["ethernets"].values()] == [
        mac_address(UUID, 0),
        mac_address(UUID, 1),
    ]


def test_without_user_data_nothing_is_asked_for(tmp_path: Path) -> None:
    create_seed(make_instance(), tmp_path / "seed.iso")
    assert yaml.safe_load(read_back(tmp_path / "seed.iso")["user-data"]) == {}


@pytest.mark.parametrize("name", ["true", "no", "null", "1e3", "007", "web-1"])
def test_every_name_stays_a_string(name: str) -> None:
    assert yaml.safe_load(meta_data(make_instance(name=name)))["local-hostname"] == name


def test_an_instance_without_networks_has_no_cards() -> None:
    assert yaml.safe_load(network_config(make_instance(networks=())))["ethernets"] == {}
