"""Statuses as the scheduler writes them."""

from dataclasses import dataclass

import msgspec

from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Compare, Comparison, Item
from etcdcompute.model import InstanceStatus, Phase, keys
from etcdcompute.model.clock import timestamp
from etcdcompute.model.stored import NIL_UUID, is_uuid


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """A status as it stands: `revision` is 0 where there is none, `document` None where there is none that parses."""

    name: str
    revision: int = 0
    document: InstanceStatus | None = None

    @classmethod
    def from_item(cls, name: str, item: Item | None) -> "StoredStatus":
        """Read what etcd holds for the instance `name`."""
        if item is None:
            return cls(name)
        return cls(name, item.mod_revision, InstanceStatus.from_json_or_none(item.value))

    @property
    def unchanged(self) -> Compare:
        """Hold as long as nobody writes the status."""
        key = keys.instance_status(self.name)
        return Compare(key, Comparison.UNCHANGED, self.revision) if self.revision else Compare.absent(key)


def fetch_status(store: Client, name: str) -> StoredStatus:
    """Read the status of the instance `name`."""
    return StoredStatus.from_item(name, store.get(keys.instance_status(name)))


def compute_status(
    before: StoredStatus,
    phase: Phase,
    *,
    generation: int | None,
    host: tuple[str, str] = ("", ""),
    code: str = "",
    message: str = "",
    keep_host: bool = False,
) -> InstanceStatus:
    """Return the status that follows `before`; `host` is (name, uuid).

    With `keep_host` host and addresses stay what they are: the instance has a host, whatever is wrong with it.
    Without a generation the observed one stays.
    """
    now = timestamp()
    known = before.document
    name, uuid = (known.host, known.host_uuid) if keep_host and known else host
    return InstanceStatus(
        uuid=before.name if is_uuid(before.name) else NIL_UUID,
        phase=phase,
        observed_generation=generation if generation is not None else known.observed_generation if known else 0,
        host=name,
        host_uuid=uuid,
        addresses=known.addresses if keep_host and known else (),
        code=code,
        message=message,
        phase_since=known.phase_since if known and known.phase is phase else now,
        updated_at=now,
    )


def is_news(before: StoredStatus, after: InstanceStatus) -> bool:
    """Whether `after` says anything that `before` does not, the time aside."""
    known = before.document
    return known is None or msgspec.structs.replace(after, updated_at=known.updated_at) != known
