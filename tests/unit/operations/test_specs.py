"""What people write becomes an instance, or an error that names what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from etcdcompute.errors import InvalidInput
from etcdcompute.model import NetworkAttachment, PowerState
from etcdcompute.model.stored import is_uuid
from etcdcompute.operations.specs import build_instance, read_spec


def spec(**changes: Any) -> dict[str, Any]:
    given = {
        "name": "web-1",
        "image": {"url": "https://images.example.org/x.qcow2", "sha256": "0" * 64},
        "resources": {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 2},
    }
    return {key: value for key, value in (given | changes).items() if value is not None}


def test_a_minimal_spec() -> None:
    instance = build_instance(spec(), source="x.yaml")
    assert is_uuid(instance.uuid)
    assert (instance.name, instance.generation, instance.deleted) == ("web-1", 1, False)
    assert instance.power_state is PowerState.RUNNING
    assert instance.networks == (NetworkAttachment(network="default"),)


def test_the_names_of_the_ansible_module_are_understood() -> None:
    resources = {"vcpus": 2, "memory_mib": 512, "disk_gib": 2, "extra": {"CUSTOM_LICENSE": 1}}
    instance = build_instance(spec(resources=resources), source="x.yaml")
    assert instance.resources == {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 2, "CUSTOM_LICENSE": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"colour": "red"}, "x.yaml: unknown key colour; known are name, image,"),
        ({"uuid": "1", "deleted": True}, "x.yaml: unknown keys deleted, uuid;"),
        ({"name": None}, "x.yaml: instance: Object missing required field `name`"),
        ({"name": "Web_1"}, "$.name"),
        ({"image": {"url": "ftp://x", "sha256": "0" * 64}}, "$.image.url"),
        ({"image": {"url": "/x", "sha256": "0" * 64, "checksum": 1}}, "unknown field `checksum`"),
        ({"resources": {"VCPU": 1}}, "resources lack MEMORY_MB, DISK_GB"),
        ({"resources": {"VCPU": 0, "MEMORY_MB": 1, "DISK_GB": 1}}, "$.resources[...]"),
        ({"resources": {"VCPU": 1, "MEMORY_MB": 1, "DISK_GB": 1, "cpu": 1}}, "resources"),
        ({"resources": [1]}, "$.resources"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, "give either network"),
        ({"ssh_keys": ["nonsense"]}, "ssh_keys must be public keys"),
        ({"power_state": "on"}, "$.power_state"),
    ],
)
def test_errors_name_the_source_and_the_key(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_instance(spec(**changes), source="x.yaml")
    assert str(caught.value).startswith("x.yaml: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("text", "sentence"), [("- a", "must be a mapping"), ("a: [", "is not YAML")])
def test_a_file_that_is_no_mapping(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=sentence):
        read_spec(path)
