"""What the module writes is what the daemons read: its document is the model's, and as strict."""

import json
from typing import Any

import pytest
from ansible_collections.etcdcompute.cloud.plugins.module_utils import document as documents
from ansible_collections.etcdcompute.cloud.plugins.module_utils import keys
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError

from etcdcompute.model import DocumentError, Instance
from etcdcompute.model import keys as model_keys
from etcdcompute.model.instance import MUTABLE_FIELDS

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me@example.org"
OPTIONS: dict[str, Any] = {
    "image": {"url": "https://images.example.org/a.qcow2", "sha256": "0A" * 32, "format": "raw"},
    "resources": {"vcpus": 2, "memory_mib": 512, "disk_gib": 4, "extra": {"CUSTOM_GPU": "2"}},
    "required_traits": ["HW_CPU_X86_AVX", "CUSTOM_A", "CUSTOM_A"],
    "forbidden_traits": ["CUSTOM_B"],
    "networks": [{"network": "default", "bridge": None}, {"network": None, "bridge": "br0"}],
    "ssh_keys": [KEY + "\n", KEY],
    "user_data": "#cloud-config\nhostname: é\n",
}
MINIMAL: dict[str, Any] = {name: OPTIONS[name] for name in ("image", "resources")}


def new(options: dict[str, Any]) -> dict[str, Any]:
    return documents.new_document(UUID, "vm1", documents.spec_from_options(options), "running")


@pytest.mark.parametrize("options", [OPTIONS, MINIMAL, OPTIONS | {"networks": [], "required_traits": []}])
def test_a_written_document_is_the_models_own(options: dict[str, Any]) -> None:
    data = documents.encode(new(options))
    instance = Instance.from_json(data)
    assert json.loads(instance.to_json()) == json.loads(data)
    assert list(json.loads(data)) == list(Instance.__struct_fields__)
    assert Instance.from_json(instance.to_json()) == instance


def test_the_defaults_are_the_models() -> None:
    written = new(MINIMAL)
    defaults = Instance.from_mapping(
        {name: written[name] for name in ("uuid", "name", "image", "resources", "created_at")}
    )
    assert defaults == Instance.from_json(documents.encode(written))


def test_the_module_reads_what_the_model_writes() -> None:
    instance = Instance.from_json(documents.encode(new(OPTIONS)))
    assert documents.parse_document(instance.to_json()) == new(OPTIONS) | {"created_at": instance.created_at}


def test_a_tombstone_for_an_unreadable_document_is_one_that_daemons_read() -> None:
    instance = Instance.from_json(documents.encode(documents.tombstone(UUID, "vm1", 7)))
    assert (instance.deleted, instance.generation, instance.name) == (True, 7, "vm1")


def test_every_fixed_field_is_compared() -> None:
    spec = documents.spec_from_options(OPTIONS)
    assert set(spec) == set(Instance.__struct_fields__) - MUTABLE_FIELDS - {"schema", "uuid", "name", "created_at"}


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"schema": 7},
        {"schema": "x"},
        {"uuid": "x"},
        {"name": "Not_A_Host_Name"},
        {"name": "-vm"},
        {"name": "a" * 64},
        {"generation": 0},
        {"generation": True},
        {"generation": "1"},
        {"image": None},
        {"image": {"url": "/x"}},
        {"image": {"url": "/x", "sha256": "0" * 64, "size": 3}},
        {"image": {"url": "/x", "sha256": "A" * 64}},
        {"image": {"url": "/x", "sha256": "0" * 64, "format": "vmdk"}},
        {"image": {"url": "ftp://x/y", "sha256": "0" * 64}},
        {"image": {"url": "/" + "x" * 2048, "sha256": "0" * 64}},
        {"resources": {"VCPU": 1, "MEMORY_MB": 128}},
        {"resources": {"VCPU": 0, "MEMORY_MB": 128, "DISK_GB": 1}},
        {"resources": {"VCPU": "1", "MEMORY_MB": 128, "DISK_GB": 1}},
        {"resources": {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 2**31}},
        {"resources": {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1, "gpu": 1}},
        {"required_traits": ["a"]},
        {"required_traits": "A"},
        {"required_traits": ["A"], "forbidden_traits": ["A"]},
        {"networks": [{}]},
        {"networks": [{"network": "a", "bridge": "b"}]},
        {"networks": [{"network": "a", "mac": "b"}]},
        {"networks": [{"network": "-a"}]},
        {"networks": [{"network": 1}]},
        {"networks": [{"bridge": "b" * 16}]},
        {"networks": [{"bridge": "br0"}] * 9},
        {"networks": ["default"]},
        {"ssh_keys": ["rubbish"]},
        {"ssh_keys": ["ssh-ed25519 AAAA me\nruncmd: [reboot]"]},
        {"ssh_keys": [1]},
        {"user_data": "x" * (256 * 1024 + 1)},
        {"user_data": "é" * (128 * 1024) + "x"},
        {"user_data": None},
        {"power_state": "paused"},
        {"deleted": 0},
        {"created_at": 1},
    ],
)
def test_what_the_model_refuses_the_module_refuses(change: dict[str, Any]) -> None:
    data = json.dumps(new(OPTIONS) | change).encode()
    with pytest.raises(DocumentError):
        Instance.from_json(data)
    with pytest.raises(documents.DocumentInvalid):
        documents.parse_document(data)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'"x"'])
def test_rubbish_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(documents.DocumentInvalid, match=r"^it|^its"):
        documents.parse_document(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": {"url": "ftp://x", "sha256": "0" * 64}}, r"^image.url: .*absolute path"),
        ({"image": {"url": "/x", "sha256": "0"}}, r"^image.sha256: .*64 hexadecimal"),
        ({"resources": {"vcpus": 0, "memory_mib": 1, "disk_gib": 1}}, "^resources.vcpus: 0 is not"),
        ({"resources": {"vcpus": 1, "memory_mib": 1, "disk_gib": 2**31}}, "^resources.disk_gib: "),
        ({"resources": OPTIONS["resources"] | {"extra": {"VCPU": 1}}}, "given by resources.vcpus"),
        ({"resources": OPTIONS["resources"] | {"extra": {"gpu": 1}}}, "^resources.extra: 'gpu'"),
        ({"resources": OPTIONS["resources"] | {"extra": {"GPU": "many"}}}, "^resources.extra.GPU: 'many'"),
        ({"required_traits": ["fast"]}, "^required_traits: 'fast'"),
        ({"required_traits": ["A"], "forbidden_traits": ["A"]}, "both name A"),
        ({"networks": [{"network": "default"}, {}]}, r"^networks\[1\]: give either"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, r"^networks\[0\]: give either"),
        ({"networks": [{"bridge": "a bridge"}]}, r"^networks\[0\].bridge"),
        ({"networks": [{"network": "a network"}]}, r"^networks\[0\].network"),
        ({"networks": [{"bridge": "br0"}] * 9}, "^networks: 9 are given, at most 8"),
        ({"ssh_keys": ["PRIVATE KEY"]}, "^ssh_keys: "),
        ({"user_data": "x" * (256 * 1024 + 1)}, "^user_data is larger than 262144 bytes"),
    ],
)
def test_a_wrong_option_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModuleError, match=words):
        documents.spec_from_options(OPTIONS | change)


@pytest.mark.parametrize("name", ["", "Vm", "vm_1", "-vm", "vm-", "a" * 64, "vm\n"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ModuleError, match=r"^name: "):
        documents.check_name(name)


def test_uuids_may_be_written_in_capitals() -> None:
    assert documents.check_uuid(UUID.upper()) == UUID
    with pytest.raises(ModuleError, match=r"^uuid: 'x' is no uuid"):
        documents.check_uuid("x")


def test_missing_options_of_a_new_instance_are_named() -> None:
    with pytest.raises(ModuleError, match="set image and resources"):
        documents.new_document(UUID, "vm1", {}, "running")


def test_what_is_not_given_is_not_compared_and_order_says_nothing() -> None:
    document = new(OPTIONS)
    assert documents.fixed_differences(document, {}) == []
    reordered = OPTIONS | {"required_traits": ["CUSTOM_A", "HW_CPU_X86_AVX"]}
    assert documents.fixed_differences(document, documents.spec_from_options(reordered)) == []


def test_a_difference_names_field_old_and_new() -> None:
    wanted = documents.spec_from_options(
        {"resources": {"vcpus": 4, "memory_mib": 512, "disk_gib": 4}, "user_data": "password: secret"}
    )
    differences = documents.fixed_differences(new(OPTIONS), wanted)
    assert differences[:2] == [("resources.VCPU", 2, 4), ("resources.CUSTOM_GPU", 2, None)]
    assert differences[2].field == "user_data"
    assert "secret" not in str(differences)


def test_user_data_is_never_shown() -> None:
    document = new(OPTIONS | {"user_data": "password: secret"})
    shown = [documents.presented(document), documents.normalised(document), documents.changes_between(None, document)]
    assert "secret" not in str(shown)
    assert "sha256:" in str(shown[0]["user_data"])


def test_a_deleted_instance_is_nothing_in_a_diff() -> None:
    document = new(OPTIONS)
    assert documents.normalised(document | {"deleted": True}) == {}
    assert documents.changes_between(document, document | {"generation": 9}) == {}


def test_the_keys_are_the_models() -> None:
    assert keys.instance(UUID) == model_keys.instance(UUID)
    assert keys.instance_name("vm1") == model_keys.instance_name("vm1")
    assert keys.instance_status(UUID) == model_keys.instance_status(UUID)
    assert keys.assignment("h", UUID) == model_keys.assignment("h", UUID)
    assert keys.alive("h") == model_keys.alive("h")
    assert (keys.INSTANCES, keys.INSTANCE_NAMES) == (model_keys.INSTANCES, model_keys.INSTANCE_NAMES)
    assert keys.last_segment(keys.instance(UUID)) == UUID
