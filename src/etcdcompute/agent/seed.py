"""The NoCloud seed a guest configures itself from: an ISO 9660 image labelled `cidata`.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html

`meta-data` holds instance id, host name and SSH keys, so that `user-data` is the user's, to the byte. `network-config`
(version 2) has DHCP on each card, found by its address.
"""

import io
import json
import re
from pathlib import Path

import pycdlib

from etcdcompute.agent.domain_xml import mac_address
from etcdcompute.agent.files import write_atomically
from etcdcompute.model import Instance

# YAML may leave these as they are (and small guests need no YAML parser then); everything else is written as JSON.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9@.+/=-]*( [A-Za-z0-9@.+/=_-]+)*")
_YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_NO_USER_DATA = "#cloud-config\n{}\n"


def meta_data(instance: Instance) -> str:
    """Return the text of `meta-data`."""
    lines = [f"instance-id: {instance.uuid}", f"local-hostname: {_scalar(instance.name)}"]
    if instance.ssh_keys:
        lines.append("public-keys:")
        lines += [f"  - {_scalar(key)}" for key in dict.fromkeys(instance.ssh_keys)]
    return "\n".join(lines) + "\n"


def network_config(instance: Instance) -> str:
    """Return the text of `network-config`."""
    lines = ["version: 2"]
    if not instance.networks:
        return "\n".join([*lines, "ethernets: {}"]) + "\n"
    lines.append("ethernets:")
    for index in range(len(instance.networks)):
        lines += [
            f"  nic{index}:",
            "    match:",
            f'      macaddress: "{mac_address(instance.uuid, index)}"',
            "    dhcp4: true",
        ]
    return "\n".join(lines) + "\n"


def user_data(instance: Instance) -> str:
    """Return the text of `user-data`: the user's, or a configuration that asks for nothing."""
    return instance.user_data or _NO_USER_DATA


def build_seed(instance: Instance) -> bytes:
    """Return the image."""
    files = {
        "meta-data": meta_data(instance),
        "user-data": user_data(instance),
        "network-config": network_config(instance),
    }
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in files.items():
        data = text.encode()
        short = name.replace("-", "_").upper()[:8]
        image.add_fp(io.BytesIO(data), len(data), f"/{short}.;1", rr_name=name, joliet_path=f"/{name}")
    written = io.BytesIO()
    image.write_fp(written)
    image.close()
    return written.getvalue()


def create_seed(instance: Instance, path: Path) -> None:
    """Write the seed, whole or not at all. It may hold secrets: only root and (by libvirt) qemu's user read it."""
    write_atomically(path, build_seed(instance), mode=0o600)


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if plain else json.dumps(text)
