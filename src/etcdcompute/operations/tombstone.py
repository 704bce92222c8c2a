"""Deleting an instance whose document does not parse: a minimal document that says "deleted" takes its place."""

import contextlib
from collections.abc import Iterator

import msgspec

from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Item
from etcdcompute.model import Assignment, ImageSource, Instance, InstanceStatus, keys
from etcdcompute.model.clock import timestamp


class _Generation(msgspec.Struct):
    """What can be saved of a document that does not parse."""

    generation: int = 0


def compute_tombstone(store: Client, uuid: str, broken: Item) -> Instance:
    """Return the tombstone. Its generation is above any that a host may have been told of, so that it is heard.

    Its name is the one reserved for the instance, which thereby becomes free; image and sizes stand for nothing.
    """
    name = next((keys.last_segment(item.key) for item in find_names(store, uuid)), f"deleted-{uuid}")
    return Instance(
        uuid=uuid,
        name=name,
        generation=_find_generation(store, uuid, broken) + 1,
        image=ImageSource(url="file:///deleted", sha256="0" * 64),
        resources={"VCPU": 1, "MEMORY_MB": 1, "DISK_GB": 1},
        deleted=True,
        created_at=timestamp(),
    )


def find_names(store: Client, uuid: str) -> Iterator[Item]:
    """Return the keys that reserve a name for the instance."""
    for item in store.read_prefix(keys.INSTANCE_NAMES).items:
        if item.value == uuid.encode():
            yield item


def _find_generation(store: Client, uuid: str, broken: Item) -> int:
    known = [0]
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        known.append(msgspec.json.decode(broken.value, type=_Generation).generation)
    status = InstanceStatus.from_json_or_none(_value(store.get(keys.instance_status(uuid))))
    if status is not None:
        known.append(status.observed_generation)
        assignment = Assignment.from_json_or_none(_value(store.get(keys.assignment(status.host_uuid, uuid))))
        if assignment is not None:
            known.append(assignment.generation)
    return max(known)


def _value(item: Item | None) -> bytes | None:
    return item.value if item else None
