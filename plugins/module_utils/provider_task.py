# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `resource_provider` does: bring one provider to what the task asks for, or see that it is gone."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Callable, Dict, List, Mapping, Optional

from ansible_collections.etcdcompute.cloud.plugins.module_utils.document import NIL_UUID, UUID, check_uuid
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, Refused
from ansible_collections.etcdcompute.cloud.plugins.module_utils.placement import (
    CONCURRENT_UPDATE,
    DUPLICATE_NAME,
    HAS_CHILDREN,
    IN_USE,
    Placement,
)
from ansible_collections.etcdcompute.cloud.plugins.module_utils.provider_document import (
    check_provider_name,
    normalised_provider,
    provider_changes,
    stored_inventories,
    wanted_from_options,
)

# How often a task starts over because somebody else wrote between its read and its write.
_ATTEMPTS = 20
_PARTS = ("inventories", "traits", "aggregates")
# How many consumers a message names.
_NAMED = 10

Provider = Dict[str, Any]


class _Again(Exception):
    """Somebody else wrote first: read again."""


class ProviderTask:
    """One task on one provider; `name_consumer` returns how a message calls a consumer."""

    def __init__(
        self, placement: Placement, params: Mapping[str, Any], check_mode: bool, name_consumer: Callable[[str], str]
    ) -> None:
        self._placement = placement
        self._state: str = params["state"]
        self._name: Optional[str] = check_provider_name(params["name"]) if params["name"] is not None else None
        self._uuid: Optional[str] = check_uuid(params["uuid"]) if params["uuid"] is not None else None
        self._parent: Optional[str] = params["parent"]
        self._recursive: bool = params["recursive"]
        self._wanted = wanted_from_options(params)
        self._check_mode = check_mode
        self._name_consumer = name_consumer
        self._new_uuid = self._uuid or (NIL_UUID if check_mode else str(uuid_module.uuid4()))
        self._before: Optional[Provider] = None
        self._begun = False

    def run(self) -> Dict[str, Any]:
        """Bring it about; ModuleError where that is impossible."""
        for _attempt in range(_ATTEMPTS):
            try:
                found = self._find()
                if not self._begun:
                    self._before, self._begun = found, True
                if self._state == "present":
                    return self._result(self._present(found))
                self._absent(found)
                return self._result(None)
            except _Again:
                continue
        raise ModuleError(
            "resource provider %s was changed by others each of the %d times that this task was about to write; run it"
            " again" % (self._name or self._uuid, _ATTEMPTS)
        )

    def _find(self) -> Optional[Provider]:
        found = self._placement.find_one(None if self._uuid is not None else self._name, self._uuid)
        return self._read(found) if found is not None else None

    def _read(self, found: Mapping[str, Any]) -> Provider:
        try:
            return read_provider(self._placement, found)
        except Refused as error:
            if error.status == 404:
                raise _Again from error  # it went between two requests
            raise

    # To be there

    def _present(self, found: Optional[Provider]) -> Provider:
        parent_uuid = self._parent_uuid(found)
        if found is None:
            if self._name is None:
                raise ModuleError("resource provider %s does not exist; to create it, set name" % self._uuid)
            found = self._create(self._name, parent_uuid)
        name = self._name if self._name is not None else found["name"]
        after = dict(found, name=name, parent_uuid=parent_uuid, **self._wanted)
        if self._check_mode:
            return after
        if (found["name"], found["parent_uuid"]) != (name, parent_uuid):
            self._write(found, lambda: self._placement.update_provider(found["uuid"], name, parent_uuid))
            raise _Again  # its generation is a new one
        generation = found["generation"]
        for part in _PARTS:
            if found[part] != after[part]:
                generation = self._replace(found, part, after[part], generation)
        return self._read(self._reread(found["uuid"])) if generation != found["generation"] else after

    def _create(self, name: str, parent_uuid: Optional[str]) -> Provider:
        new = {
            "uuid": self._new_uuid,
            "name": name,
            "generation": 0,
            "parent_uuid": parent_uuid,
            "root_uuid": None,
            "inventories": {},
            "traits": [],
            "aggregates": [],
        }
        if self._check_mode:
            return new
        try:
            self._placement.create_provider(self._new_uuid, name, parent_uuid)
        except Refused as error:
            if error.status == 409 and self._find() is not None:
                raise _Again from error  # somebody else, or this very request, whose answer was lost
            raise
        return self._read(self._reread(self._new_uuid))

    def _reread(self, uuid: str) -> Mapping[str, Any]:
        found = self._placement.find_one(None, uuid)
        if found is None:
            raise ModuleError("resource provider %s was deleted by somebody else just now" % (self._name or uuid))
        return found

    def _parent_uuid(self, found: Optional[Provider]) -> Optional[str]:
        if self._parent is None:
            return found["parent_uuid"] if found is not None else None
        if not self._parent:
            return None
        is_uuid = UUID.fullmatch(self._parent.lower()) is not None
        parent = self._placement.find_one(None if is_uuid else self._parent, self._parent.lower() if is_uuid else None)
        if parent is not None:
            return str(parent["uuid"])
        if self._check_mode:
            return self._parent  # an earlier task of the play may be what creates it
        raise ModuleError("parent: there is no resource provider %s; create it first" % self._parent)

    def _replace(self, found: Provider, part: str, value: Any, generation: int) -> int:
        if part == "inventories":
            self._placement.ensure_names("resource_classes", sorted(value))
        elif part == "traits":
            self._placement.ensure_names("traits", value)
        sent = []

        def write() -> None:
            sent.append(self._placement.replace(found["uuid"], part, value, generation))

        self._write(found, write)
        return sent[0]

    def _write(self, found: Provider, write: Callable[[], object]) -> None:
        try:
            write()
        except Refused as error:
            if error.code == CONCURRENT_UPDATE or error.status == 404:
                raise _Again from error
            if error.code in IN_USE:
                raise self._in_use(found, "cannot be changed like this") from error
            if error.code == DUPLICATE_NAME:
                raise ModuleError("name: another resource provider is called %s already" % self._name) from error
            raise

    # To be gone

    def _absent(self, found: Optional[Provider]) -> None:
        if found is None:
            return
        below = self._descendants(found["uuid"])
        if below and not self._recursive:
            raise ModuleError(
                "resource provider %s cannot be deleted: below it are %s; delete those first, or set recursive: true"
                % (found["name"], ", ".join(each["name"] for each in below))
            )
        doomed = [*reversed(below), found]
        for each in doomed:
            if self._placement.fetch(each["uuid"], "allocations"):
                raise self._in_use(each, "cannot be deleted")
        if self._check_mode:
            return
        for each in doomed:
            try:
                self._placement.delete_provider(each["uuid"])
            except Refused as error:
                if error.code in (CONCURRENT_UPDATE, HAS_CHILDREN):
                    raise _Again from error
                if error.code in IN_USE:
                    raise self._in_use(each, "cannot be deleted") from error
                raise

    def _descendants(self, uuid: str) -> List[Mapping[str, Any]]:
        """Return what is below the provider, parents before their children."""
        tree = self._placement.find_providers(in_tree=uuid)
        found: List[Mapping[str, Any]] = []
        level = {uuid}
        while level:
            children = [each for each in tree if each.get("parent_provider_uuid") in level]
            found += sorted(children, key=lambda each: str(each["name"]))
            level = {each["uuid"] for each in children}
        return found

    def _in_use(self, provider: Mapping[str, Any], verdict: str) -> ModuleError:
        consumers = sorted(self._placement.fetch(provider["uuid"], "allocations"))
        named = [self._name_consumer(each) for each in consumers[:_NAMED]]
        if len(consumers) > _NAMED:
            named.append("%d more" % (len(consumers) - _NAMED))
        return ModuleError(
            "resource provider %s %s: allocations from it are held by %s; delete these instances (or the allocations of"
            " what is no instance) first" % (provider["name"], verdict, ", ".join(named) or "somebody unknown")
        )

    def _result(self, after: Optional[Provider]) -> Dict[str, Any]:
        changes = provider_changes(self._before, after)
        return {
            "changed": bool(changes),
            "resource_provider": after,
            "changes": changes,
            "diff": {"before": normalised_provider(self._before), "after": normalised_provider(after)},
        }


def read_provider(placement: Placement, found: Mapping[str, Any]) -> Provider:
    """Return a provider with all that a task can manage."""
    uuid = found["uuid"]
    return {
        "uuid": uuid,
        "name": found["name"],
        "generation": found["generation"],
        "parent_uuid": found.get("parent_provider_uuid"),
        "root_uuid": found.get("root_provider_uuid"),
        "inventories": stored_inventories(placement.fetch(uuid, "inventories")),
        "traits": sorted(placement.fetch(uuid, "traits")),
        "aggregates": sorted(placement.fetch(uuid, "aggregates")),
    }
