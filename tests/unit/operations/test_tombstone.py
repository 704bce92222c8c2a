"""A tombstone takes the place of whatever somebody wrote where an instance should be."""

from typing import Any, cast

import pytest

from etcdcompute.kv.records import Item, Listing
from etcdcompute.model import Instance, keys
from etcdcompute.operations.tombstone import compute_tombstone

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"


class EmptyStore:
    """An etcd that holds nothing else."""

    def get(self, _key: str) -> None:
        return None

    def read_prefix(self, _prefix: str) -> Listing:
        return Listing(1, ())


@pytest.mark.parametrize(
    ("broken", "generation"),
    [
        (b"", 1),
        (b"\xff", 1),
        (b'{"generation": 7, "colour": "red"}', 8),
        (b'{"generation": "7"}', 1),
        (b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 1),
    ],
    ids=lambda value: str(value)[:24],
)
def test_its_generation_is_above_what_can_be_read_of_the_broken_one(broken: bytes, generation: int) -> None:
    item = Item(keys.instance(UUID), broken, 1, 1, 1)
    tombstone = compute_tombstone(cast(Any, EmptyStore()), UUID, item)
    assert (tombstone.uuid, tombstone.deleted, tombstone.generation) == (UUID, True, generation)
    assert Instance.from_json(tombstone.to_json()) == tombstone
