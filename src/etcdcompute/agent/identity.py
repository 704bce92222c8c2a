"""Who this host is: its uuid, the lock of its one agent, and the store it knows."""

import fcntl
import json
import logging
import os
import threading
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from etcdcompute.agent.files import create_once, write_atomically
from etcdcompute.errors import AlreadyExists, InvalidInput
from etcdcompute.model.stored import is_uuid

_LOG = logging.getLogger(__name__)


def host_uuid(path: Path) -> str:
    """Return the host's uuid, made at the first call and the same for ever after."""
    text = create_once(path, f"{uuid.uuid4()}\n".encode()).decode("utf-8", "replace").strip()
    if not is_uuid(text):
        raise InvalidInput(
            f"{path}: holds {text[:60]!r} where this host's uuid should be: restore it (`etcdcompute host show` has "
            "it), or, if no instance is assigned to this host, remove the file to register it anew"
        )
    return text


class AgentLock:
    """Held while an agent runs; a second agent on the same state directory is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyExists(
                f"{self._path.parent}: another agent is running on this state directory: stop it, or set "
                "agent.state_dir to another directory"
            ) from None
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class KnownStore:
    """What is remembered of etcd: the content of `/cluster`, the highest revision seen, and what is suspicious."""

    cluster: str = ""
    revision: int = 0
    suspicion: str = ""


class StoreMemory:
    """Decides whether the absence of something in etcd may be believed. Safe to use from any thread.

    Absence is believed only in the store this host has always known, and only if that has not gone back in time (a
    restored backup). A suspicion outlasts restarts: it ends when an operator removes the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known = _read(path)
        self._written = True

    @property
    def suspicion(self) -> str:
        """Why absence is not believed, "" where it is."""
        return self._known.suspicion

    @property
    def knows_a_store(self) -> bool:
        """Whether this host has been attached to a store before."""
        return bool(self._known.cluster)

    def believe(self, cluster: str | None, revision: int) -> bool:
        """Compare `/cluster` (None where absent) and the store's revision with what is known; remember them."""
        with self._lock:
            return self._compare(cluster, revision)

    def _compare(self, cluster: str | None, revision: int) -> bool:
        known = self._known
        if known.suspicion:
            return False
        if known.cluster and cluster != known.cluster:
            found = "has no id" if cluster is None else "has another id"
            return self._suspect(f"etcd {found}: it was emptied or exchanged")
        if revision < known.revision:
            return self._suspect(f"etcd has gone back from revision {known.revision} to {revision}: it was restored")
        if cluster is None:
            return False
        if not known.cluster or revision > known.revision or not self._written:
            self._remember(KnownStore(cluster, revision))
        return True

    def _suspect(self, reason: str) -> bool:
        way_out = (
            "domains and disks that no assignment names are kept. If the store is the right one, remove "
            f"{self._path} and restart the agent: they will be removed then"
        )
        self._remember(replace(self._known, suspicion=f"{reason}; {way_out}"))
        _LOG.error("%s", self._known.suspicion)
        return False

    def _remember(self, known: KnownStore) -> None:
        document = {"cluster": known.cluster, "revision": known.revision, "suspicion": known.suspicion}
        # In memory whatever becomes of the file: with a full disk the last one written still knows the store.
        self._known = known
        try:
            write_atomically(self._path, json.dumps(document).encode())
        except OSError as error:
            if self._written:
                _LOG.warning("%s: cannot be written, trying on: %s", self._path, error.strerror or error)
            self._written = False
        else:
            self._written = True


def _read(path: Path) -> KnownStore:
    try:
        document = json.loads(path.read_bytes())
        return KnownStore(str(document["cluster"]), int(document["revision"]), str(document["suspicion"]))
    except FileNotFoundError:
        return KnownStore()
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: cannot be understood ({error!r}): remove it if this host's etcd is the one it belongs to"
        ) from error
