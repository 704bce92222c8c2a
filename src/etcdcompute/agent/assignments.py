"""What is assigned to this host, as the watch tells it."""

import logging
import threading
from collections.abc import Callable

from etcdcompute.kv.client import Client
from etcdcompute.kv.records import DeleteEvent, PutEvent, Snapshot
from etcdcompute.model import keys
from etcdcompute.model.stored import is_uuid

_LOG = logging.getLogger(__name__)


class Assignments:
    """The uuids of the instances that are assigned here, kept by `follow`. Safe to use from any thread.

    An event says only that an instance is to be looked at: `on_changed` gets its uuid, the documents are read when it
    is worked on. `on_listed` is called whenever the whole list has been read.
    """

    def __init__(
        self, store: Client, host_uuid: str, *, on_changed: Callable[[str], None], on_listed: Callable[[], None]
    ) -> None:
        self._store = store
        self._prefix = keys.host_assignments(host_uuid)
        self._on_changed = on_changed
        self._on_listed = on_listed
        self._lock = threading.Lock()
        self._uuids: frozenset[str] = frozenset()
        self._complete = threading.Event()

    @property
    def complete(self) -> bool:
        """Whether a full list has been read since the start."""
        return self._complete.is_set()

    def uuids(self) -> frozenset[str]:
        """Return the instances that are assigned to this host."""
        with self._lock:
            return self._uuids

    def follow(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        for event in self._store.watch(self._prefix, stop=stop):
            match event:
                case Snapshot(items=items, reason=reason, revision=revision):
                    uuids = frozenset(uuid for item in items if (uuid := _uuid(item.key)))
                    _LOG.info("%d instances are assigned here at revision %d (%s)", len(uuids), revision, reason)
                    self._replace(uuids)
                case PutEvent(item=item):
                    self._update(_uuid(item.key), present=True)
                case DeleteEvent(key=key):
                    self._update(_uuid(key), present=False)
                case _:
                    pass

    def _replace(self, uuids: frozenset[str]) -> None:
        with self._lock:
            touched = self._uuids | uuids
            self._uuids = uuids
        self._complete.set()
        for uuid in sorted(touched):
            self._on_changed(uuid)
        self._on_listed()

    def _update(self, uuid: str, *, present: bool) -> None:
        if not uuid:
            return
        with self._lock:
            self._uuids = self._uuids | {uuid} if present else self._uuids - {uuid}
        self._on_changed(uuid)


def _uuid(key: str) -> str:
    """Return the instance that a key is about; "" where it is about none."""
    uuid = keys.last_segment(key)
    # It names the instance's files: a key that somebody made up must never lead outside their directory.
    if is_uuid(uuid):
        return uuid
    _LOG.warning("%s: is not an assignment: the key does not end in an instance's uuid", key)
    return ""
