# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances as etcd holds them: finding one, and waiting for what becomes of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional

from ansible_collections.etcdcompute.cloud.plugins.module_utils import keys
from ansible_collections.etcdcompute.cloud.plugins.module_utils.deadline import Deadline
from ansible_collections.etcdcompute.cloud.plugins.module_utils.document import DocumentInvalid, parse_document
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, Unavailable
from ansible_collections.etcdcompute.cloud.plugins.module_utils.etcd import Gateway, Item

_RECONNECT_PAUSE_S = 0.2


@dataclass(frozen=True)
class Stored:
    """One instance at one revision; `document` is None and `problem` a sentence where it cannot be read."""

    uuid: str
    revision: int
    name_item: Optional[Item]
    item: Optional[Item]
    status_item: Optional[Item]

    @property
    def document(self) -> Optional[Dict[str, Any]]:
        """The desired instance, or None where there is none or it cannot be read."""
        if self.item is None:
            return None
        try:
            return self._parsed(self.item)
        except DocumentInvalid:
            return None

    @property
    def problem(self) -> str:
        """What is wrong with the document, "" where nothing is."""
        if self.item is None:
            return ""
        try:
            self._parsed(self.item)
        except DocumentInvalid as error:
            return str(error)
        return ""

    @property
    def claimed_generation(self) -> int:
        """The generation that the document gives, also where nothing else of it can be read; else 0."""
        generation = (_parse_object(self.item) or {}).get("generation")
        return generation if isinstance(generation, int) else 0

    def _parsed(self, item: Item) -> Dict[str, Any]:
        document = parse_document(item.value)
        if document["uuid"] != self.uuid:
            raise DocumentInvalid("it says uuid %s and lies under the key of %s" % (document["uuid"], self.uuid))
        return document

    @property
    def status(self) -> Optional[Dict[str, Any]]:
        """The observed state, or None where nobody has reported any (or nothing that can be read)."""
        return parse_status(self.status_item)

    @property
    def label(self) -> str:
        """What messages call it."""
        document = self.document
        if document is not None:
            return str(document["name"])
        return keys.last_segment(self.name_item.key) if self.name_item else self.uuid


def parse_status(item: Optional[Item]) -> Optional[Dict[str, Any]]:
    """Return a status document, None where there is none that can be read."""
    status = _parse_object(item)
    return status if status is not None and isinstance(status.get("observed_generation"), int) else None


def read_assigned_generation(gateway: Gateway, status: Mapping[str, Any], uuid: str) -> int:
    """Return the generation that the instance's host is told to bring about, 0 where it has no host."""
    key = keys.assignment(str(status.get("host_uuid") or "-"), uuid)
    generation = (_parse_object(gateway.read(key)[1][key]) or {}).get("generation")
    return generation if isinstance(generation, int) else 0


def _parse_object(item: Optional[Item]) -> Optional[Dict[str, Any]]:
    if item is None:
        return None
    try:
        parsed = json.loads(item.value.decode())
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def find(gateway: Gateway, name: Optional[str], uuid: Optional[str]) -> Optional[Stored]:
    """Return the instance with this name or uuid, None where there is none; ModuleError where they disagree."""
    while True:
        found_uuid = uuid
        name_item = None
        if name is not None:
            name_item = gateway.read(keys.instance_name(name))[1][keys.instance_name(name)]
            if name_item is not None:
                found_uuid = name_item.value.decode(errors="replace")
            if found_uuid is None:
                return None
            if uuid is not None and found_uuid != uuid:
                raise ModuleError("the name %s belongs to instance %s, not to uuid %s" % (name, found_uuid, uuid))
        assert_uuid = str(found_uuid)
        stored = _read(gateway, assert_uuid, name)
        if name is None:
            return stored if stored.item is not None else None
        if _revision_of(stored.name_item) != _revision_of(name_item):
            continue  # it was deleted or created between the two reads
        if name_item is None:
            if stored.item is None:
                return None
            raise ModuleError("uuid %s is the instance %s; an instance cannot be renamed" % (uuid, stored.label))
        return stored


def _read(gateway: Gateway, uuid: str, name: Optional[str]) -> Stored:
    wanted = [keys.instance(uuid), keys.instance_status(uuid)]
    if name is not None:
        wanted.append(keys.instance_name(name))
    revision, found = gateway.read(*wanted)
    name_item = found[wanted[2]] if name is not None else None
    return Stored(uuid, revision, name_item, found[wanted[0]], found[wanted[1]])


def _revision_of(item: Optional[Item]) -> int:
    return item.mod_revision if item else 0


def find_all(gateway: Gateway) -> List[Stored]:
    """Return all instances as they stood at one revision, in the order of their names."""
    revision, items = gateway.read_prefix(keys.INSTANCES)
    names = {each.value: each for each in gateway.read_prefix(keys.INSTANCE_NAMES, revision)[1]}
    statuses = {keys.last_segment(each.key): each for each in gateway.read_prefix(keys.INSTANCE_STATUSES, revision)[1]}
    found = []
    for item in items:
        uuid = keys.last_segment(item.key)
        found.append(Stored(uuid, revision, names.get(uuid.encode()), item, statuses.get(uuid)))
    return sorted(found, key=lambda each: (each.label, each.uuid))


def fetch_living_hosts(gateway: Gateway) -> FrozenSet[str]:
    """Return the uuids of the hosts whose agents are alive."""
    return frozenset(keys.last_segment(each.key) for each in gateway.read_prefix(keys.ALIVE)[1])


class Waiter:
    """Waits for one instance on watches of its keys; a dropped stream is followed by a read and a new watch."""

    def __init__(self, gateway: Gateway, uuid: str, label: str, deadline: Deadline) -> None:
        self._gateway = gateway
        self._uuid = uuid
        self._label = label
        self._deadline = deadline
        self._problem = ""
        self.seen = Stored(uuid, 0, None, None, None)

    def until_gone(self) -> None:
        """Return when the instance's keys are gone."""
        self._until(lambda seen: seen.item is None, "is marked for deletion and still there")

    def until_observed(self, document: Mapping[str, Any], address: bool) -> Stored:
        """Return the instance when it is in the power state that its generation asks for, or ModuleError.

        `address`: a running instance must have reported an address too.
        """
        wanted = str(document["power_state"])
        not_yet = "is not %s" % wanted

        def reached(seen: Stored) -> bool:
            self._refuse_foreign_changes(seen, document)
            status = seen.status
            if status is None or status["observed_generation"] < document["generation"]:
                return False
            if status.get("phase") == "error":
                raise ModuleError("instance %s: %s" % (self._label, _reason(status) or "error"))
            if status.get("phase") != wanted:
                return False
            return bool(wanted != "running" or not address or status.get("addresses"))

        return self._until(reached, not_yet)

    def _refuse_foreign_changes(self, seen: Stored, document: Mapping[str, Any]) -> None:
        now = seen.document
        if seen.item is None or (now is not None and now["deleted"]):
            raise ModuleError("instance %s was deleted by somebody else while this task waited for it" % self._label)
        if now is not None and now["power_state"] != document["power_state"]:
            raise ModuleError(
                "instance %s was asked by somebody else to be %s while this task waited for it to be %s"
                % (self._label, now["power_state"], document["power_state"])
            )

    def _until(self, reached: Callable[[Stored], bool], not_yet: str) -> Stored:
        while not self._deadline.expired:
            try:
                seen = _read(self._gateway, self._uuid, None)
            except Unavailable as error:
                self._problem = str(error)
                continue
            self._problem = ""
            self.seen = seen
            if reached(seen):
                return seen
            begun = time.monotonic()
            for key, item in self._gateway.watch(
                [keys.instance(self._uuid), keys.instance_status(self._uuid)], seen.revision + 1, self._deadline
            ):
                if key == keys.instance(self._uuid):
                    seen = Stored(seen.uuid, seen.revision, None, item, seen.status_item)
                else:
                    seen = Stored(seen.uuid, seen.revision, None, seen.item, item)
                self.seen = seen
                if reached(seen):
                    return seen
            # A stream that ends as it begins must not turn this into a storm of reads.
            time.sleep(max(0.0, _RECONNECT_PAUSE_S - (time.monotonic() - begun)))
        raise ModuleError(self._timeout_message(not_yet))

    def _timeout_message(self, not_yet: str) -> str:
        status = self.seen.status
        words = ["instance %s %s after %d s" % (self._label, not_yet, self._deadline.timeout_s)]
        if self._problem:
            words.append(self._problem)
        elif status is None:
            words.append("nothing has been reported of it: is a scheduler running?")
        else:
            words.append("its phase is %s%s" % (status.get("phase"), _details(status)))
            if status.get("phase") == "running" and not status.get("addresses"):
                words.append("it has reported no address (wait_for_address: false does not wait for one)")
            words += self._host_problem(status)
        return "; ".join(words)

    def _host_problem(self, status: Mapping[str, Any]) -> List[str]:
        if not status.get("host_uuid"):
            return []
        try:
            key = keys.alive(str(status["host_uuid"]))
            if self._gateway.read(key)[1][key] is None:
                return ["its host %s is down" % (status.get("host") or status["host_uuid"])]
        except ModuleError:
            pass  # the timeout is the news, not that the reason cannot be read
        return []


def _details(status: Mapping[str, Any]) -> str:
    host = " on host %s" % status["host"] if status.get("host") else ""
    reason = _reason(status)
    return host + (": %s" % reason if reason else "")


def _reason(status: Mapping[str, Any]) -> str:
    code, message = status.get("code") or "", status.get("message") or ""
    return "%s (%s)" % (message, code) if message and code else message or code
