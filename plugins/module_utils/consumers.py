# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names for the consumers of resources: those that are instances are called by their names."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping

from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instances import find
from ansible_collections.etcdcompute.cloud.plugins.module_utils.options import connect_etcd

# Names are a courtesy in a message: nobody shall wait long for them.
_PATIENCE_S = 1.0


def consumer_naming(params: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function from a consumer's uuid to what a message calls it; without etcd that is the uuid."""
    patience_s = min(_PATIENCE_S, params["etcd_request_timeout"])
    problems: List[ModuleError] = []

    def name_consumer(uuid: str) -> str:
        if problems:
            return uuid
        try:
            instance = find(connect_etcd(dict(params, etcd_request_timeout=patience_s)), None, uuid)
        except ModuleError as error:
            problems.append(error)
            return uuid
        return uuid if instance is None else "%s (instance %s)" % (uuid, instance.label)

    return name_consumer
