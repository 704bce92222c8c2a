#!/usr/bin/python
# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_provider
short_description: Declare resource providers with parent, inventories, traits and aggregates
version_added: 0.1.0
author:
  - etcd-compute contributors (@etcd-compute)
description:
  - Brings a resource provider in the placement service to what the task says. Compute hosts register theirs themselves;
    this module is for what no agent knows of, such as shared storage, licences or racks.
  - Only what the task gives is managed. An option that is left out leaves that part as it is; an empty dictionary or
    list removes all of it.
  - Custom resource classes and traits (C(CUSTOM_...)) are created as needed.
options:
  name:
    description:
      - Name of the provider, unique in the service, at most 200 characters.
      - One of O(name) and O(uuid) is required; to create a provider, O(name). With both, the provider gets this name.
    type: str
  uuid:
    description: Identifies the provider instead of its name. A new provider gets it, or a random one.
    type: str
  parent:
    description: Uuid or name of the provider that this one is a part of. An empty string makes it a root.
    type: str
  inventories:
    description:
      - What there is, by resource class, as C({VCPU - {total - 8}}).
      - Each has C(total), and may have C(reserved) (default 0), C(min_unit) (1), C(max_unit) (2147483647), C(step_size)
        (1) and C(allocation_ratio) (1.0). What can be allocated is (total - reserved) * allocation_ratio.
    type: dict
  traits:
    description: The provider's traits, all of them.
    type: list
    elements: str
  aggregates:
    description: Uuids of the aggregates that the provider is a member of, all of them.
    type: list
    elements: str
  recursive:
    description: Whether V(state=absent) deletes the providers below this one too, instead of failing and naming them.
    type: bool
    default: false
notes:
  - A provider from which something is allocated is not deleted, nor its inventory in use. The message names the
    consumers, by the names of their instances where etcd can be reached.
seealso:
  - module: etcdcompute.cloud.resource_provider_info
  - module: etcdcompute.cloud.instance
extends_documentation_fragment:
  - etcdcompute.cloud.placement
  - etcdcompute.cloud.etcd
  - etcdcompute.cloud.state
  - etcdcompute.cloud.attributes
  - etcdcompute.cloud.attributes.writes
"""

EXAMPLES = r"""
- name: Storage that the hosts of an aggregate share
  etcdcompute.cloud.resource_provider:
    placement_urls: ["http://192.0.2.11:8778"]
    name: nfs1
    inventories:
      DISK_GB:
        total: 20000
        reserved: 500
        allocation_ratio: 1.5
    traits: [MISC_SHARES_VIA_AGGREGATE]
    aggregates: [0e4b1bd2-9f0c-4c6e-8c6e-1f7f3d9a2b10]

- name: A part of a host that nothing reports by itself
  etcdcompute.cloud.resource_provider:
    name: etcd2-fpga
    parent: etcd2
    inventories:
      CUSTOM_FPGA: {total: 2}
    traits: [CUSTOM_FPGA_FAST]

- name: Take its traits away and leave all else as it is
  etcdcompute.cloud.resource_provider:
    name: etcd2-fpga
    traits: []

- name: Remove it with all that is below it
  etcdcompute.cloud.resource_provider:
    name: etcd2-fpga
    state: absent
    recursive: true
"""

RETURN = r"""
resource_provider:
  description: The provider as it is now, V(none) when it is gone. In check mode a new provider has the nil uuid.
  returned: success
  type: dict
  contains:
    uuid:
      description: The provider's uuid.
      type: str
      sample: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    name:
      description: The provider's name.
      type: str
      sample: nfs1
    generation:
      description: A number that changes with the provider.
      type: int
      sample: 3
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
        DISK_GB:
          {total: 20000, reserved: 500, min_unit: 1, max_unit: 2147483647, step_size: 1, allocation_ratio: 1.5}
    traits:
      description: The traits.
      type: list
      elements: str
      sample: [MISC_SHARES_VIA_AGGREGATE]
    aggregates:
      description: Uuids of the aggregates.
      type: list
      elements: str
      sample: [0e4b1bd2-9f0c-4c6e-8c6e-1f7f3d9a2b10]
changes:
  description: What this task changed, by field, each with C(before) and C(after).
  returned: success
  type: dict
  sample:
    traits: {before: [CUSTOM_FPGA_FAST], after: []}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.etcdcompute.cloud.plugins.module_utils.consumers import consumer_naming
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError
from ansible_collections.etcdcompute.cloud.plugins.module_utils.options import (
    connect_placement,
    connection_options,
    state_options,
)
from ansible_collections.etcdcompute.cloud.plugins.module_utils.provider_task import ProviderTask


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            connection_options(),
            **state_options(),
            name={"type": "str"},
            uuid={"type": "str"},
            parent={"type": "str"},
            inventories={"type": "dict"},
            traits={"type": "list", "elements": "str"},
            aggregates={"type": "list", "elements": "str"},
            recursive={"type": "bool", "default": False},
        ),
        required_one_of=[["name", "uuid"]],
        required_together=[["etcd_username", "etcd_password"]],
        supports_check_mode=True,
    )
    try:
        task = ProviderTask(
            connect_placement(module.params), module.params, module.check_mode, consumer_naming(module.params)
        )
        result = task.run()
    except ModuleError as error:
        module.fail_json(msg=str(error))
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
