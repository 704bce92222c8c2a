"""An instance as it is read: whole, broken, or under the wrong key."""

import json

import pytest
from ansible_collections.etcdcompute.cloud.plugins.module_utils import document as documents
from ansible_collections.etcdcompute.cloud.plugins.module_utils.etcd import Item
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instances import Stored, parse_status

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
OTHER = "7f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
DOCUMENT = documents.tombstone(UUID, "vm1", 3)


def stored(value: bytes, *, uuid: str = UUID, name: str | None = None) -> Stored:
    name_item = Item(f"/names/instances/{name}", uuid.encode(), 1) if name else None
    return Stored(uuid, 1, name_item, Item(f"/instances/{uuid}", value, 1), None)


def test_a_whole_document() -> None:
    seen = stored(documents.encode(DOCUMENT))
    assert (seen.document, seen.problem, seen.label, seen.claimed_generation) == (DOCUMENT, "", "vm1", 3)


@pytest.mark.parametrize(
    ("value", "generation"),
    [
        (b"", 0),
        (b"[]", 0),
        (b"\xff", 0),
        (b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0),
        (b'{"generation": "x"}', 0),
        (json.dumps(DOCUMENT | {"colour": "red", "generation": 9}).encode(), 9),
    ],
)
def test_a_broken_document_still_has_a_name_and_maybe_a_generation(value: bytes, generation: int) -> None:
    seen = stored(value, name="vm1")
    assert seen.document is None
    assert seen.problem
    assert (seen.label, seen.claimed_generation) == ("vm1", generation)
    assert stored(value).label == UUID


def test_a_document_under_a_foreign_key_is_a_broken_one() -> None:
    seen = stored(documents.encode(DOCUMENT), uuid=OTHER)
    assert seen.document is None
    assert seen.problem == f"it says uuid {UUID} and lies under the key of {OTHER}"


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"observed_generation": "x"}', b"\xff"])
def test_a_status_that_cannot_be_read_is_none(value: bytes) -> None:
    assert parse_status(Item("/status", value, 1)) is None
    assert parse_status(None) is None
