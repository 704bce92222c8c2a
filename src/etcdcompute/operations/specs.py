"""From what a person writes to an instance document."""

import uuid
from pathlib import Path
from typing import Any

import yaml

from etcdcompute.errors import InvalidInput
from etcdcompute.model import DocumentError, Instance
from etcdcompute.model.clock import timestamp

# What a spec says; the document's other fields are the program's.
SPEC_FIELDS = (
    "name",
    "image",
    "resources",
    "required_traits",
    "forbidden_traits",
    "networks",
    "ssh_keys",
    "user_data",
    "power_state",
)

_CLASSES = {"vcpus": "VCPU", "memory_mib": "MEMORY_MB", "disk_gib": "DISK_GB"}


def build_instance(spec: dict[str, Any], *, source: str) -> Instance:
    """Return a new instance; InvalidInput names `source`, the key and what is wrong with it."""
    unknown = sorted(str(key) for key in spec if key not in SPEC_FIELDS)
    if unknown:
        raise InvalidInput(
            f"{source}: unknown key{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; "
            f"known are {', '.join(SPEC_FIELDS)}"
        )
    if isinstance(spec.get("resources"), dict):
        spec = {**spec, "resources": _name_resources(spec["resources"])}
    document = {**spec, "uuid": str(uuid.uuid4()), "created_at": timestamp()}
    try:
        return Instance.from_mapping(document)
    except DocumentError as error:
        raise InvalidInput(f"{source}: {error}") from error


def _name_resources(resources: dict[str, Any]) -> dict[str, Any]:
    """Return resource classes: a spec may also use the names that the Ansible module has for the usual ones."""
    extra = resources.get("extra")
    named = {
        _CLASSES.get(key, key): amount
        for key, amount in resources.items()
        if not (key == "extra" and isinstance(extra, dict))
    }
    return named | extra if isinstance(extra, dict) else named


def read_spec(path: Path) -> dict[str, Any]:
    """Read a spec from a YAML (or JSON) file; InvalidInput says what is wrong with the file."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise InvalidInput(f"{path}: must be a mapping with the keys {', '.join(SPEC_FIELDS)}")
    return data
