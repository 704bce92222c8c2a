"""Documents are strict, stable and say what is wrong with them."""

import pytest

from etcdcompute.model import Document, DocumentError, Instance, InstanceStatus

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"


def spec(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "uuid": UUID,
        "name": "vm1",
        "image": {"url": "/srv/images/guest.qcow2", "sha256": "0" * 64},
        "resources": {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1},
        "created_at": "2026-01-31T09:05:00.123Z",
    }
    return fields | changes


def test_a_document_survives_the_way_to_etcd_and_back() -> None:
    instance = Instance.from_mapping(spec(ssh_keys=["ssh-ed25519 AAAA me"], networks=[{"bridge": "br0"}]))
    assert Instance.from_json(instance.to_json()) == instance
    assert instance.to_json() == Instance.from_json(instance.to_json()).to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "colour"),
        ({"image": {"url": "/x", "sha256": "0" * 64, "size": 3}}, "size"),
        ({"name": "Not_A_Host_Name"}, "name"),
        ({"name": "-vm"}, "name"),
        ({"name": "vm1\n"}, "name"),
        ({"image": {"url": "/x", "sha256": "0" * 64 + "\n"}}, "sha256"),
        ({"image": {"url": "/x\n", "sha256": "0" * 64}}, "url"),
        ({"image": {"url": "/x", "sha256": "0" * 64, "format": "raw\n"}}, "format"),
        ({"networks": [{"bridge": "br0\n"}]}, "bridge"),
        ({"resources": {"VCPU": 1, "MEMORY_MB": 128}}, "DISK_GB"),
        ({"resources": {"VCPU": 0, "MEMORY_MB": 128, "DISK_GB": 1}}, "resources"),
        ({"resources": {"VCPU": "1", "MEMORY_MB": 128, "DISK_GB": 1}}, "resources"),
        ({"networks": [{}]}, "either network"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, "either network"),
        ({"image": {"url": "ftp://x/y", "sha256": "0" * 64}}, "url"),
        ({"image": {"url": "http://x/y", "sha256": "abc"}}, "sha256"),
        ({"ssh_keys": ["rubbish"]}, "ssh_keys"),
        ({"ssh_keys": ["ssh-ed25519 AAAA me\nruncmd: [reboot]"]}, "ssh_keys"),
        ({"user_data": "x" * (256 * 1024 + 1)}, "user_data"),
        ({"required_traits": ["A"], "forbidden_traits": ["A"]}, "both required and forbidden: A"),
        ({"power_state": "paused"}, "power_state"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(DocumentError, match=f"(?s)^instance: .*{words}"):
        Instance.from_mapping(spec(**change))


DEEP = b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": 1}', b'{"schema": "x"}', DEEP],
    ids=lambda data: data[:9],
)
@pytest.mark.parametrize("kind", [Instance, InstanceStatus])
def test_rubbish_is_refused_with_a_sentence(kind: type[Document], data: bytes) -> None:
    with pytest.raises(DocumentError, match=f"^{kind.kind}: "):
        kind.from_json(data)


def test_a_newer_schema_is_named_as_such() -> None:
    newer = Instance.from_mapping(spec()).to_json().replace(b'"schema":1', b'"schema":7')
    with pytest.raises(DocumentError, match="schema version 7 is not known here"):
        Instance.from_json(newer)
