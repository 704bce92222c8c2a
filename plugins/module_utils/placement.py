# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The placement service over HTTP, as far as resource providers go.

Every write may be sent again when its answer is lost: it either carries the provider's generation, and is refused the
second time, or ends in the same state. Whoever is refused reads again and compares.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence
from urllib.parse import urlencode

from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, Refused
from ansible_collections.etcdcompute.cloud.plugins.module_utils.servers import (
    Answer,
    Connection,
    Servers,
    message_of,
)

MICROVERSION = "placement 1.39"

CONCURRENT_UPDATE = "placement.concurrent_update"
DUPLICATE_NAME = "placement.duplicate_name"
IN_USE = frozenset({"placement.inventory.inuse", "placement.resource_provider.inuse"})
HAS_CHILDREN = "placement.resource_provider.cannot_delete_parent"


class Placement:
    """A client for one task."""

    def __init__(self, connection: Connection, token: Optional[str] = None) -> None:
        self._servers = Servers(connection)
        self._headers = {"OpenStack-API-Version": MICROVERSION}
        if token:
            self._headers["X-Auth-Token"] = token

    def find_providers(self, **filters: str) -> List[Dict[str, Any]]:
        """Return the providers that match: name, uuid, in_tree, required, member_of, resources as the API has them."""
        query = "?" + urlencode(filters) if filters else ""
        providers: List[Dict[str, Any]] = self._get("/resource_providers" + query)["resource_providers"]
        return providers

    def find_one(self, name: Optional[str], uuid: Optional[str]) -> Optional[Dict[str, Any]]:
        """Return the provider with this uuid, or else this name; None where there is none."""
        found = self.find_providers(**({"uuid": uuid} if uuid is not None else {"name": name or ""}))
        return found[0] if found else None

    def create_provider(self, uuid: str, name: str, parent_uuid: Optional[str]) -> None:
        """Create the provider; Refused where its name or uuid is taken."""
        self._send("POST", "/resource_providers", {"uuid": uuid, "name": name, "parent_provider_uuid": parent_uuid})

    def update_provider(self, uuid: str, name: str, parent_uuid: Optional[str]) -> None:
        """Rename or move the provider."""
        self._send("PUT", "/resource_providers/" + uuid, {"name": name, "parent_provider_uuid": parent_uuid})

    def delete_provider(self, uuid: str) -> None:
        """Delete the provider with its inventories; that it is gone already is success."""
        try:
            self._send("DELETE", "/resource_providers/" + uuid)
        except Refused as error:
            if error.status != 404:
                raise

    def fetch(self, uuid: str, what: str) -> Dict[str, Any]:
        """Return a provider's inventories, traits, aggregates, usages or allocations."""
        part: Dict[str, Any] = self._get("/resource_providers/%s/%s" % (uuid, what))[what]
        return part

    def replace(self, uuid: str, what: str, value: object, generation: int) -> int:
        """Replace a provider's inventories, traits or aggregates; return its new generation."""
        document = {"resource_provider_generation": generation, what: value}
        body = self._send("PUT", "/resource_providers/%s/%s" % (uuid, what), document).body
        return int(body["resource_provider_generation"])

    def ensure_names(self, kind: str, names: Sequence[str]) -> None:
        """See to it that custom names exist; `kind` is traits or resource_classes."""
        for name in names:
            if name.startswith("CUSTOM_"):
                self._send("PUT", "/%s/%s" % (kind, name))

    def _get(self, path: str) -> Dict[str, Any]:
        body = self._send("GET", path).body
        if not isinstance(body, dict):
            raise ModuleError(
                "%s does not answer as a placement service does; is placement_urls right?" % self._servers.preferred
            )
        return body

    def _send(self, method: str, path: str, document: Optional[Mapping[str, Any]] = None) -> Answer:
        answer = self._servers.send(method, path, document, self._headers)
        if 200 <= answer.status < 300:
            return answer
        raise _refusal(answer, self._servers.preferred, method, path)


def _refusal(answer: Answer, url: str, method: str, path: str) -> Refused:
    if answer.status == 401:
        return Refused("placement at %s does not accept the given placement_token" % url, 401)
    code = ""
    if isinstance(answer.body, dict) and isinstance(answer.body.get("errors"), list) and answer.body["errors"]:
        code = str(answer.body["errors"][0].get("code", ""))
    message = "placement refused %s %s: %s" % (method, path.partition("?")[0], message_of(answer))
    return Refused(message, answer.status, code)
