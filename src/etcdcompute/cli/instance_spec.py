"""From the options of `instance create` to the fields of an instance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_REQUIRED = {"image": "--image", "sha256": "--sha256", "vcpus": "--vcpus", "memory": "--memory", "disk": "--disk"}
_BRIDGE = "bridge:"


def build_spec(name: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a spec file would say; click's UsageError names what is missing."""
    missing = ([] if name else ["NAME"]) + [flag for key, flag in _REQUIRED.items() if options[key] is None]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)} (or give --file)")
    image = {"url": options["image"], "sha256": options["sha256"]}
    if options["image_format"]:
        image["format"] = options["image_format"]
    resources = {"VCPU": options["vcpus"], "MEMORY_MB": options["memory"], "DISK_GB": options["disk"]}
    spec: dict[str, Any] = {
        "name": name,
        "image": image,
        "resources": resources | dict(_parse_resource(each) for each in options["resources"]),
        "required_traits": list(options["traits"]),
        "forbidden_traits": list(options["forbidden_traits"]),
        "ssh_keys": [line for path in options["ssh_key_files"] for line in _read_keys(path)],
    }
    if options["networks"]:
        spec["networks"] = [_parse_network(each) for each in options["networks"]]
    if options["user_data_file"] is not None:
        spec["user_data"] = _read(options["user_data_file"])
    return spec


def _parse_resource(text: str) -> tuple[str, int]:
    resource, _, amount = text.partition(":")
    if not amount.isdecimal():
        raise click.UsageError(f"--resource {text!r} must be CLASS:AMOUNT, as in CUSTOM_LICENSE:1")
    return resource, int(amount)


def _parse_network(text: str) -> dict[str, str]:
    return {"bridge": text.removeprefix(_BRIDGE)} if text.startswith(_BRIDGE) else {"network": text}


def _read_keys(path: Path) -> list[str]:
    lines = [line.strip() for line in _read(path).splitlines()]
    if any("PRIVATE KEY" in line for line in lines):
        raise click.UsageError(f"--ssh-key {path} is a private key: give the public one, {path}.pub")
    return [line for line in lines if line and not line.startswith("#")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error
