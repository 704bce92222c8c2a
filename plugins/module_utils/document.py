# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of an instance: from a task's options to what etcd holds, and the difference between two.

What is written here is what `etcdcompute.model.Instance` reads; tests hold the two together.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError

SCHEMA_VERSION = 1
USER_DATA_LIMIT = 256 * 1024
AMOUNT_LIMIT = 2**31 - 1
NETWORK_LIMIT = 8
NIL_UUID = "00000000-0000-0000-0000-000000000000"

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SYMBOL = re.compile(r"[A-Z0-9_]{1,255}")  # resource classes and traits
SHA256 = re.compile(r"[0-9a-f]{64}")
IMAGE_URL = re.compile(r"(https?://\S+|file:///\S+|/\S+)")
DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SSH_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]*)?")

# The option of each resource class that every instance has.
RESOURCE_OPTIONS = {"vcpus": "VCPU", "memory_mib": "MEMORY_MB", "disk_gib": "DISK_GB"}
# Fields whose order says nothing.
_SETS = ("required_traits", "forbidden_traits", "ssh_keys")
# What an instance gets where the task does not say.
_DEFAULTS: Dict[str, Any] = {
    "required_traits": [],
    "forbidden_traits": [],
    "networks": [{"network": "default", "bridge": None}],
    "ssh_keys": [],
    "user_data": "",
}
_SPEC_FIELDS = ("image", "resources", *_DEFAULTS)
_REQUIRED_FIELDS = ("uuid", "name", "image", "resources", "created_at")


# What each field must be, beyond what the checks of the options say.
_SHAPES: Dict[str, type] = {
    "uuid": str,
    "name": str,
    "generation": int,
    "image": dict,
    "resources": dict,
    "required_traits": list,
    "forbidden_traits": list,
    "networks": list,
    "ssh_keys": list,
    "user_data": str,
    "power_state": str,
    "deleted": bool,
    "created_at": str,
}


class DocumentInvalid(ModuleError):
    """What etcd holds is not a document that this collection understands."""


class Change(NamedTuple):
    """One field with what it was and what it is to be; `old` is None for what did not exist."""

    field: str
    old: Any
    new: Any


def check_name(name: str) -> str:
    """Return the name; ModuleError where no instance could have it."""
    if len(name) > 63 or not NAME.fullmatch(name):
        raise ModuleError(
            "name: %r is no host name; use 1 to 63 lower case letters, digits and hyphens, the first and last of them"
            " a letter or digit" % name
        )
    return name


def check_uuid(uuid: str, option: str = "uuid") -> str:
    """Return the uuid in small letters; ModuleError where it is none."""
    if not UUID.fullmatch(uuid.lower()):
        raise ModuleError("%s: %r is no uuid; write it as %s" % (option, uuid, NIL_UUID))
    return uuid.lower()


def spec_from_options(params: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the document's fields that the task gives (what is left out is left as it is), checked."""
    spec: Dict[str, Any] = {}
    if params.get("image") is not None:
        spec["image"] = _image(params["image"])
    if params.get("resources") is not None:
        spec["resources"] = _resources(params["resources"])
    for option in ("required_traits", "forbidden_traits"):
        if params.get(option) is not None:
            spec[option] = sorted({_symbol(option, each) for each in params[option]})
    both = sorted(set(spec.get("required_traits", [])) & set(spec.get("forbidden_traits", [])))
    if both:
        raise ModuleError("required_traits and forbidden_traits both name %s; decide for one" % ", ".join(both))
    if params.get("networks") is not None:
        spec["networks"] = _networks(params["networks"])
    if params.get("ssh_keys") is not None:
        spec["ssh_keys"] = list(dict.fromkeys(_ssh_key(each) for each in params["ssh_keys"]))
    if params.get("user_data") is not None:
        if len(params["user_data"].encode()) > USER_DATA_LIMIT:
            raise ModuleError("user_data is larger than %d bytes; let the guest fetch what is large" % USER_DATA_LIMIT)
        spec["user_data"] = params["user_data"]
    return spec


def new_document(uuid: str, name: str, spec: Mapping[str, Any], power_state: str) -> Dict[str, Any]:
    """Return the document of a new instance, every field of it; ModuleError names options that are missing."""
    missing = [field for field in ("image", "resources") if field not in spec]
    if missing:
        raise ModuleError("instance %s does not exist; to create it, set %s" % (name, " and ".join(missing)))
    document: Dict[str, Any] = {"schema": SCHEMA_VERSION, "uuid": uuid, "name": name, "generation": 1}
    for field in _SPEC_FIELDS:
        document[field] = spec[field] if field in spec else _DEFAULTS[field]
    document.update(power_state=power_state, deleted=False, created_at=timestamp())
    return document


def tombstone(uuid: str, name: str, generation: int) -> Dict[str, Any]:
    """Return the document that has an instance taken down whose own document nobody can read."""
    spec = {
        "image": {"url": "/unknown", "sha256": "0" * 64, "format": "qcow2"},
        "resources": dict.fromkeys(RESOURCE_OPTIONS.values(), 1),
        "networks": [],
    }
    return dict(new_document(uuid, name, spec, "stopped"), generation=generation, deleted=True)


def parse_document(data: bytes) -> Dict[str, Any]:
    """Return a stored document with all its fields; DocumentInvalid where the daemons would not read it either.

    As strict as they are: a document that they refuse must not be edited here but replaced, or nobody could delete
    the instance.
    """
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise DocumentInvalid("it is not JSON: %s" % error) from error
    if not isinstance(document, dict):
        raise DocumentInvalid("it is not an object")
    version = document.get("schema", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise DocumentInvalid(
            "it has schema version %s, this collection knows %d; upgrade the collection" % (version, SCHEMA_VERSION)
        )
    optional = dict(_DEFAULTS, schema=version, generation=1, power_state="running", deleted=False)
    for field in _REQUIRED_FIELDS:
        if field not in document:
            raise DocumentInvalid("its field %s is missing" % field)
    for field in document:
        if field not in optional and field not in _REQUIRED_FIELDS:
            raise DocumentInvalid("its field %s is unknown" % field)
    document.update((field, value) for field, value in optional.items() if field not in document)
    try:
        _check_fields(document)
    except (ModuleError, TypeError, AttributeError, KeyError) as error:
        raise DocumentInvalid("one of its fields is wrong: %s" % error) from error
    return document


def _check_fields(document: Mapping[str, Any]) -> None:
    """Raise anything where a field is not what the model allows."""
    for field, kind in _SHAPES.items():
        if not _is(kind, document[field]):
            raise ModuleError("%s: %r is of a wrong type" % (field, document[field]))
    check_name(document["name"])
    if not UUID.fullmatch(document["uuid"]):
        raise ModuleError("uuid: %r is no uuid in lower case" % document["uuid"])
    if document["generation"] < 1 or document["power_state"] not in ("running", "stopped"):
        raise ModuleError("generation or power_state has an impossible value")
    _check_image(document["image"])
    _check_resources(document["resources"])
    for each in document["networks"]:
        if set(each) - {"network", "bridge"}:
            raise ModuleError("networks has an unknown field")
    for key in document["ssh_keys"]:
        if not SSH_KEY.fullmatch(key):
            raise ModuleError("ssh_keys: %r is no public key" % key)
    options = {field: document[field] for field in ("required_traits", "forbidden_traits", "networks", "user_data")}
    spec_from_options(options)


def _is(kind: type, value: Any) -> bool:
    # To Python a bool is an int, to the model it is not.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _check_image(image: Mapping[str, Any]) -> None:
    if set(image) - {"url", "sha256", "format"} or image.get("format", "qcow2") not in ("qcow2", "raw"):
        raise ModuleError("image has an unknown field or format")
    if _image(image)["sha256"] != image["sha256"]:
        raise ModuleError("image.sha256 is not in lower case")


def _check_resources(resources: Mapping[str, Any]) -> None:
    for name, amount in resources.items():
        _symbol("resources", name)
        if not _is(int, amount) or not 1 <= amount <= AMOUNT_LIMIT:
            raise ModuleError("resources.%s: %r is no amount" % (name, amount))
    lacking = [name for name in RESOURCE_OPTIONS.values() if name not in resources]
    if lacking:
        raise ModuleError("resources lack %s" % ", ".join(lacking))


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the stored form."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def presented(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the document as results show it: user data, which often carries passwords, only as its digest."""
    return {key: _shown(key, value) for key, value in document.items()}


def normalised(document: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Return what a diff shows: the desired state without identifiers and counters; {} where there is none."""
    if document is None or document.get("deleted"):
        return {}
    fields = ("name", *_SPEC_FIELDS, "power_state")
    return {field: _shown(field, _canonical(field, document[field])) for field in fields}


def fixed_differences(document: Mapping[str, Any], spec: Mapping[str, Any]) -> List[Change]:
    """Return where the task asks for something else than is there, in fields that cannot be changed."""
    changes: List[Change] = []
    for field in _SPEC_FIELDS:
        if field not in spec:
            continue
        old, new = _canonical(field, document[field]), _canonical(field, spec[field])
        if field in ("image", "resources"):
            names = [*old, *(name for name in new if name not in old)]
            changes += [
                Change("%s.%s" % (field, name), old.get(name), new.get(name))
                for name in names
                if old.get(name) != new.get(name)
            ]
        elif old != new:
            changes.append(Change(field, _shown(field, old), _shown(field, new)))
    return changes


def changes_between(
    before: Optional[Mapping[str, Any]], after: Optional[Mapping[str, Any]]
) -> Dict[str, Dict[str, Any]]:
    """Return what a task changed, field by field, as the result `changes` shows it."""
    old, new = normalised(before), normalised(after)
    fields = [*old, *(field for field in new if field not in old)]
    return {
        field: {"before": old.get(field), "after": new.get(field)}
        for field in fields
        if old.get(field) != new.get(field)
    }


def timestamp() -> str:
    """Return now as RFC 3339 in UTC with milliseconds."""
    now = datetime.now(timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (now.microsecond // 1000)


def _shown(field: str, value: Any) -> Any:
    if field != "user_data" or not value:
        return value
    data = value.encode()
    return "sha256:%s (%d bytes)" % (hashlib.sha256(data).hexdigest(), len(data))


def _canonical(field: str, value: Any) -> Any:
    if field in _SETS:
        return sorted(set(value))
    if field == "image":
        return {"url": value["url"], "sha256": value["sha256"], "format": value.get("format", "qcow2")}
    if field == "networks":
        return [{"network": each.get("network"), "bridge": each.get("bridge")} for each in value]
    return value


def _image(image: Mapping[str, Any]) -> Dict[str, str]:
    url, digest = str(image["url"]), str(image["sha256"]).lower()
    if len(url) > 2048 or not IMAGE_URL.fullmatch(url):
        raise ModuleError("image.url: %r is neither http(s)://…, file:///… nor an absolute path on the hosts" % url)
    if not SHA256.fullmatch(digest):
        raise ModuleError("image.sha256: %r is not 64 hexadecimal digits; sha256sum prints them" % digest)
    return {"url": url, "sha256": digest, "format": image.get("format") or "qcow2"}


def _resources(resources: Mapping[str, Any]) -> Dict[str, int]:
    amounts = {
        RESOURCE_OPTIONS[option]: _amount("resources.%s" % option, resources[option]) for option in RESOURCE_OPTIONS
    }
    for name, amount in (resources.get("extra") or {}).items():
        for option, known in RESOURCE_OPTIONS.items():
            if name == known:
                raise ModuleError("resources.extra: %s is given by resources.%s" % (name, option))
        amounts[_symbol("resources.extra", name)] = _amount("resources.extra.%s" % name, amount)
    return amounts


def _amount(option: str, value: Any) -> int:
    # Values of a free dictionary come as a template made them, so digits may be a string.
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= AMOUNT_LIMIT:
        raise ModuleError("%s: %r is not a whole number from 1 to %d" % (option, value, AMOUNT_LIMIT))
    return value


def _symbol(option: str, name: Any) -> str:
    if not isinstance(name, str) or not SYMBOL.fullmatch(name):
        raise ModuleError("%s: %r must consist of capital letters, digits and underscores" % (option, name))
    return name


def _networks(networks: Any) -> List[Dict[str, Optional[str]]]:
    if len(networks) > NETWORK_LIMIT:
        raise ModuleError("networks: %d are given, at most %d are possible" % (len(networks), NETWORK_LIMIT))
    attachments: List[Dict[str, Optional[str]]] = []
    for index, each in enumerate(networks):
        network, bridge = each.get("network"), each.get("bridge")
        option = "networks[%d]" % index
        if (network is None) == (bridge is None):
            raise ModuleError("%s: give either network (a libvirt network) or bridge (a bridge on the host)" % option)
        if network is not None and not NETWORK.fullmatch(network):
            raise ModuleError("%s.network: %r is no name of a libvirt network" % (option, network))
        if bridge is not None and not DEVICE.fullmatch(bridge):
            raise ModuleError("%s.bridge: %r is no name of a bridge (at most 15 characters)" % (option, bridge))
        attachments.append({"network": network, "bridge": bridge})
    return attachments


def _ssh_key(key: str) -> str:
    key = key.strip()
    if not SSH_KEY.fullmatch(key):
        raise ModuleError(
            "ssh_keys: %r is no public key; give each as one line: ssh-ed25519 AAAA… comment"
            % (key if len(key) <= 40 else key[:40] + "…")
        )
    return key
