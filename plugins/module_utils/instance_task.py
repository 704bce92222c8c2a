# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `instance` does: bring one instance's document to what the task asks for, then wait."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Dict, Mapping, Optional

from ansible_collections.etcdcompute.cloud.plugins.module_utils import document as documents
from ansible_collections.etcdcompute.cloud.plugins.module_utils import keys
from ansible_collections.etcdcompute.cloud.plugins.module_utils.deadline import Deadline
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, OutcomeUnknown, Unfulfilled
from ansible_collections.etcdcompute.cloud.plugins.module_utils.etcd import Compare, Gateway
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instances import (
    Stored,
    Waiter,
    find,
    parse_status,
    read_assigned_generation,
)

_POWER_STATES = {"started": "running", "stopped": "stopped"}
# How often a task starts over because somebody else wrote between its read and its write.
_ATTEMPTS = 20


class InstanceTask:
    """One task on one instance; `run` returns the module's result."""

    def __init__(self, gateway: Gateway, params: Mapping[str, Any], check_mode: bool, timeout_s: float) -> None:
        self._gateway = gateway
        self._state: str = params["state"]
        self._name: Optional[str] = documents.check_name(params["name"]) if params["name"] is not None else None
        self._uuid: Optional[str] = documents.check_uuid(params["uuid"]) if params["uuid"] is not None else None
        self._spec = documents.spec_from_options(params)
        self._wait: bool = params["wait"]
        self._address: bool = params["wait_for_address"]
        self._check_mode = check_mode
        self._deadline = Deadline(timeout_s)
        self._sent: Optional[Dict[str, Any]] = None
        # What this task has sent without learning whether it arrived.
        self._unsure: Optional[Dict[str, Any]] = None
        self._draft: Optional[Dict[str, Any]] = None
        self._new_uuid = documents.NIL_UUID if check_mode else str(uuid_module.uuid4())
        self._before: Optional[Dict[str, Any]] = None

    def run(self) -> Dict[str, Any]:
        """Bring it about; ModuleError where that is impossible."""
        for _attempt in range(_ATTEMPTS):
            stored = find(self._gateway, self._name, self._uuid)
            try:
                result = self._absent(stored) if self._state == "absent" else self._present(stored)
            except OutcomeUnknown:
                self._unsure = self._sent
                continue  # reading again tells
            if result is not None:
                return result
        raise ModuleError(
            "instance %s was changed by others each of the %d times that this task was about to write; run it again"
            % (self._name or self._uuid, _ATTEMPTS)
        )

    # Each step returns None where somebody else wrote first and the task is to look again.

    def _present(self, stored: Optional[Stored]) -> Optional[Dict[str, Any]]:
        if stored is None:
            return self._create()
        if stored.item is None:
            raise ModuleError(
                "the name %s is reserved for instance %s, which does not exist; state: absent frees the name"
                % (stored.label, stored.uuid)
            )
        document = stored.document
        if document is None:
            raise ModuleError(
                "the document of instance %s cannot be read: %s; state: absent deletes the instance all the same"
                % (stored.label, stored.problem)
            )
        if document == self._unsure:
            return self._finish(document, changed=True)
        if document["deleted"]:
            return self._replace_deleted(stored)
        self._refuse_fixed(stored, document)
        power_state = _POWER_STATES.get(self._state, document["power_state"])
        if document["power_state"] == power_state:
            return self._finish(document, changed=False, stored=stored)
        changed = dict(document, power_state=power_state, generation=document["generation"] + 1)
        self._before = document
        if self._check_mode:
            return self._result(changed, stored.status, changed=True)
        self._sent = changed
        if not self._gateway.commit(
            [Compare.unchanged(stored.item)], {keys.instance(stored.uuid): documents.encode(changed)}
        ):
            return None
        return self._finish(changed, changed=True)

    def _create(self) -> Optional[Dict[str, Any]]:
        if self._name is None:
            raise ModuleError("instance %s does not exist; to create it, set name" % self._uuid)
        # The same document in each attempt: should an earlier one have arrived after all, it is known as ours.
        document = self._draft or documents.new_document(
            self._uuid or self._new_uuid, self._name, self._spec, _POWER_STATES.get(self._state, "running")
        )
        self._draft = document
        self._before = None
        if self._check_mode:
            return self._result(document, None, changed=True)
        self._sent = document
        instance, name = keys.instance(document["uuid"]), keys.instance_name(self._name)
        if not self._gateway.commit(
            [Compare.absent(instance), Compare.absent(name)],
            {instance: documents.encode(document), name: document["uuid"].encode()},
        ):
            return None
        return self._finish(document, changed=True)

    def _replace_deleted(self, stored: Stored) -> Optional[Dict[str, Any]]:
        if self._check_mode:
            return self._create()
        if not self._wait:
            raise ModuleError(
                "instance %s is being deleted; it can be created again when it is gone: set wait: true, or try later"
                % stored.label
            )
        if self._name is not None:
            documents.new_document(stored.uuid, self._name, self._spec, "running")  # complain before the wait
        self._waiter(stored).until_gone()
        return None

    def _refuse_fixed(self, stored: Stored, document: Dict[str, Any]) -> None:
        differences = documents.fixed_differences(document, self._spec)
        if differences:
            wishes = ["%s is %s and the task wants %s" % (each.field, each.old, each.new) for each in differences]
            raise ModuleError(
                "instance %s exists and only its power state can be changed, but %s; delete it (state: absent) and"
                " create it anew, or ask for what it is" % (stored.label, ", ".join(wishes))
            )

    def _absent(self, stored: Optional[Stored]) -> Optional[Dict[str, Any]]:
        if stored is None:
            return self._result(None, None, changed=self._unsure is not None)
        if stored.item is None:
            return self._free_name(stored)
        document = stored.document
        if document is None or not document["deleted"]:
            gone = self._tombstone(stored, document)
            self._before = document
            if self._check_mode:
                return self._result(None, None, changed=True)
            self._sent = gone
            if not self._gateway.commit(
                [Compare.unchanged(stored.item)], {keys.instance(stored.uuid): documents.encode(gone)}
            ):
                return None
            changed = True
        else:
            changed = document == self._unsure
            if self._check_mode:
                return self._result(None, None, changed=False)
            if not self._wait:
                return self._result(document, stored.status, changed=changed)
            gone = document
        if not self._wait:
            return self._result(gone, stored.status, changed=changed)
        waiter = self._waiter(stored)
        try:
            waiter.until_gone()
        except ModuleError as error:
            raise Unfulfilled(str(error), self._result(gone, waiter.seen.status, changed)) from error
        return self._result(None, None, changed=changed)

    def _free_name(self, stored: Stored) -> Optional[Dict[str, Any]]:
        if self._check_mode or stored.name_item is None:
            return self._result(None, None, changed=True)
        guards = [Compare.unchanged(stored.name_item), Compare.absent(keys.instance(stored.uuid))]
        if not self._gateway.commit(guards, {}, [stored.name_item.key]):
            return None
        return self._result(None, None, changed=True)

    def _tombstone(self, stored: Stored, document: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        if document is not None:
            return dict(document, deleted=True, generation=document["generation"] + 1)
        # Nobody could act on what is there now, so it gives way to the least that everybody can read. Its generation
        # must be beyond all that daemons have seen of this instance.
        generations = [stored.claimed_generation]
        status = stored.status
        if status is not None:
            generations.append(status["observed_generation"])
            generations.append(read_assigned_generation(self._gateway, status, stored.uuid))
        name = stored.label if stored.name_item else self._name_of(stored.uuid)
        return documents.tombstone(stored.uuid, name, max(generations) + 1)

    def _name_of(self, uuid: str) -> str:
        for item in self._gateway.read_prefix(keys.INSTANCE_NAMES)[1]:
            if item.value.decode(errors="replace") == uuid:
                return keys.last_segment(item.key)
        return "deleted-" + uuid  # nobody has reserved a name for it, and it must have one

    def _finish(self, document: Dict[str, Any], changed: bool, stored: Optional[Stored] = None) -> Dict[str, Any]:
        if not changed:
            self._before = document
        if not self._wait or self._check_mode:
            status = stored.status if stored else self._read_status(document["uuid"])
            return self._result(document, status, changed)
        waiter = Waiter(self._gateway, document["uuid"], document["name"], self._deadline)
        try:
            seen = waiter.until_observed(document, self._address and bool(document["networks"]))
        except ModuleError as error:
            raise Unfulfilled(str(error), self._result(document, waiter.seen.status, changed)) from error
        return self._result(seen.document or document, seen.status, changed)

    def _read_status(self, uuid: str) -> Optional[Dict[str, Any]]:
        key = keys.instance_status(uuid)
        return parse_status(self._gateway.read(key)[1][key])

    def _waiter(self, stored: Stored) -> Waiter:
        return Waiter(self._gateway, stored.uuid, stored.label, self._deadline)

    def _result(
        self, document: Optional[Dict[str, Any]], status: Optional[Dict[str, Any]], changed: bool
    ) -> Dict[str, Any]:
        after = None if document is None or document["deleted"] else document
        before = self._before if changed else after
        return {
            "changed": changed,
            "instance": documents.presented(document) if document is not None else None,
            "status": status,
            "changes": documents.changes_between(before, after),
            "diff": {"before": documents.normalised(before), "after": documents.normalised(after)},
        }
