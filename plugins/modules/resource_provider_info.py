#!/usr/bin/python
# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_provider_info
short_description: List resource providers with what they have and who uses it
version_added: 0.1.0
author:
  - etcd-compute contributors (@etcd-compute)
description:
  - Reads resource providers from the placement service. All given filters must hold.
  - A provider that is not there is not in the list; that is no error.
options:
  name:
    description: Only the provider of this name.
    type: str
  uuid:
    description: Only the provider with this uuid.
    type: str
  in_tree:
    description: Only providers of the tree that the provider with this uuid or name belongs to.
    type: str
  required_traits:
    description: Only providers that have all of these traits.
    type: list
    elements: str
  member_of:
    description: Only members of at least one of these aggregates, given by uuid.
    type: list
    elements: str
  resources:
    description: Only providers that have these amounts free, by resource class.
    type: dict
  details:
    description:
      - Whether to read inventories, traits, aggregates, usages and allocations too, which is five requests a provider.
    type: bool
    default: true
seealso:
  - module: etcdcompute.cloud.resource_provider
extends_documentation_fragment:
  - etcdcompute.cloud.placement
  - etcdcompute.cloud.etcd
  - etcdcompute.cloud.attributes
  - etcdcompute.cloud.attributes.reads
"""

EXAMPLES = r"""
- name: All providers
  etcdcompute.cloud.resource_provider_info:
    placement_urls: ["http://192.0.2.11:8778"]
  register: providers

- name: Memory in use on each host
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.usages.MEMORY_MB | default(0) }} of {{ item.inventories.MEMORY_MB.total }} MiB"
  loop: "{{ providers.resource_providers | selectattr('inventories.MEMORY_MB', 'defined') }}"
  loop_control:
    label: "{{ item.name }}"

- name: Names of the hosts where 4 CPUs and 8 GiB are free
  etcdcompute.cloud.resource_provider_info:
    resources:
      VCPU: 4
      MEMORY_MB: 8192
    details: false
"""

RETURN = r"""
resource_providers:
  description: The providers in the order of their names. Without O(details) each has the first five of these keys.
  returned: success
  type: list
  elements: dict
  contains:
    uuid:
      description: The provider's uuid.
      type: str
      sample: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    name:
      description: The provider's name.
      type: str
      sample: etcd2
    generation:
      description: A number that changes with the provider.
      type: int
      sample: 7
    parent_uuid:
      description: Uuid of the provider it is a part of, V(none) for a root.
      type: str
    root_uuid:
      description: Uuid of the root of its tree.
      type: str
      sample: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    inventories:
      description: The inventories by resource class.
      type: dict
      sample:
        VCPU: {total: 8, reserved: 0, min_unit: 1, max_unit: 8, step_size: 1, allocation_ratio: 4.0}
    traits:
      description: The traits.
      type: list
      elements: str
      sample: [HW_CPU_X86_AVX2]
    aggregates:
      description: Uuids of the aggregates.
      type: list
      elements: str
      sample: []
    usages:
      description: What is allocated, by resource class.
      type: dict
      sample: {VCPU: 2}
    allocations:
      description: What is allocated, by the uuid of the consumer (that of the instance) and resource class.
      type: dict
      sample:
        0b0fa8ad-3e3d-4b5e-9d59-6f3c0a9fd0d4: {VCPU: 2}
"""

from typing import Any, Dict, List, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.etcdcompute.cloud.plugins.module_utils.document import UUID, check_uuid
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, Refused
from ansible_collections.etcdcompute.cloud.plugins.module_utils.options import connect_placement, connection_options
from ansible_collections.etcdcompute.cloud.plugins.module_utils.placement import Placement
from ansible_collections.etcdcompute.cloud.plugins.module_utils.provider_task import read_provider


def list_providers(params: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the providers that the task asks for."""
    placement = connect_placement(params)
    filters: Dict[str, str] = {}
    if params["name"] is not None:
        filters["name"] = params["name"]
    if params["uuid"] is not None:
        filters["uuid"] = check_uuid(params["uuid"])
    if params["required_traits"]:
        filters["required"] = ",".join(params["required_traits"])
    if params["member_of"]:
        filters["member_of"] = "in:" + ",".join(check_uuid(each, "member_of") for each in params["member_of"])
    if params["resources"]:
        filters["resources"] = ",".join("%s:%s" % each for each in sorted(params["resources"].items()))
    if params["in_tree"] is not None:
        root = _uuid_of(placement, params["in_tree"])
        if root is None:
            return []
        filters["in_tree"] = root
    found = sorted(placement.find_providers(**filters), key=lambda each: (each["name"], each["uuid"]))
    if params["details"]:
        detailed = [_detailed(placement, each) for each in found]
        return [each for each in detailed if each is not None]
    return [
        {
            "uuid": each["uuid"],
            "name": each["name"],
            "generation": each["generation"],
            "parent_uuid": each.get("parent_provider_uuid"),
            "root_uuid": each.get("root_provider_uuid"),
        }
        for each in found
    ]


def _uuid_of(placement: Placement, name_or_uuid: str) -> Any:
    if UUID.fullmatch(name_or_uuid.lower()):
        return name_or_uuid.lower()
    provider = placement.find_one(name_or_uuid, None)
    return provider["uuid"] if provider is not None else None


def _detailed(placement: Placement, found: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Return the provider with all that it has; None where it was deleted since it was listed."""
    try:
        allocations = placement.fetch(found["uuid"], "allocations")
        return dict(
            read_provider(placement, found),
            usages=placement.fetch(found["uuid"], "usages"),
            allocations={consumer: each["resources"] for consumer, each in sorted(allocations.items())},
        )
    except Refused as error:
        if error.status == 404:
            return None
        raise


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            connection_options(),
            name={"type": "str"},
            uuid={"type": "str"},
            in_tree={"type": "str"},
            required_traits={"type": "list", "elements": "str"},
            member_of={"type": "list", "elements": "str"},
            resources={"type": "dict"},
            details={"type": "bool", "default": True},
        ),
        required_together=[["etcd_username", "etcd_password"]],
        supports_check_mode=True,
    )
    try:
        providers = list_providers(module.params)
    except ModuleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, resource_providers=providers)


if __name__ == "__main__":
    main()
