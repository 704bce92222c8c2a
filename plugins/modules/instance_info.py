#!/usr/bin/python
# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_info
short_description: List virtual machines with what is asked of them and what has become of them
version_added: 0.1.0
author:
  - etcd-compute contributors (@etcd-compute)
description:
  - Reads instances and their status from etcd, all as of one moment.
  - An instance that is not there is not in the list; that is no error.
options:
  name:
    description: Only the instance of this name.
    type: str
  uuid:
    description: Only the instance with this uuid.
    type: str
  host:
    description: Only instances on the host of this name.
    type: str
  phase:
    description: Only instances that are in one of these phases.
    type: list
    elements: str
    choices: [pending, assigned, building, running, stopped, deleting, error]
seealso:
  - module: etcdcompute.cloud.instance
extends_documentation_fragment:
  - etcdcompute.cloud.etcd
  - etcdcompute.cloud.placement
  - etcdcompute.cloud.attributes
  - etcdcompute.cloud.attributes.reads
"""

EXAMPLES = r"""
- name: All instances
  etcdcompute.cloud.instance_info:
    etcd_endpoints: ["http://192.0.2.11:2379"]
  register: cloud

- name: Their names and addresses
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.status.addresses | map(attribute='ip') | join(', ') }}"
  loop: "{{ cloud.instances | selectattr('status') }}"
  loop_control:
    label: "{{ item.name }}"

- name: What has failed, or waits for a host
  etcdcompute.cloud.instance_info:
    phase: [error, pending]
"""

RETURN = r"""
instances:
  description: The instances, in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the instance; its uuid where no name is known.
      type: str
      sample: web1
    uuid:
      description: The instance's uuid.
      type: str
      sample: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    instance:
      description: The desired state, as M(etcdcompute.cloud.instance) returns it; V(none) where it cannot be read.
      type: dict
    status:
      description: What was last reported of it, as M(etcdcompute.cloud.instance) returns it; V(none) where nothing was.
      type: dict
    host_alive:
      description: Whether the agent of its host is alive; V(none) while it has no host.
      type: bool
      sample: true
    problem:
      description: Why the desired state cannot be read, empty where it can.
      type: str
      sample: ""
"""

from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.etcdcompute.cloud.plugins.module_utils.document import check_name, check_uuid, presented
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instances import (
    fetch_living_hosts,
    find,
    find_all,
)
from ansible_collections.etcdcompute.cloud.plugins.module_utils.options import connect_etcd, connection_options

PHASES = ["pending", "assigned", "building", "running", "stopped", "deleting", "error"]


def list_instances(params: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the instances that the task asks for."""
    gateway = connect_etcd(params)
    if params["name"] is None and params["uuid"] is None:
        found = find_all(gateway)
    else:
        name = None if params["name"] is None else check_name(params["name"])
        uuid = None if params["uuid"] is None else check_uuid(params["uuid"])
        one = find(gateway, name, uuid)
        found = [one] if one is not None and one.item is not None else []
    alive = fetch_living_hosts(gateway)
    listed = []
    for each in found:
        status = each.status or {}
        if params["host"] is not None and status.get("host") != params["host"]:
            continue
        if params["phase"] is not None and status.get("phase") not in params["phase"]:
            continue
        document = each.document
        host_uuid = status.get("host_uuid")
        listed.append(
            {
                "name": each.label,
                "uuid": each.uuid,
                "instance": None if document is None else presented(document),
                "status": each.status,
                "host_alive": host_uuid in alive if host_uuid else None,
                "problem": each.problem,
            }
        )
    return listed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            connection_options(),
            name={"type": "str"},
            uuid={"type": "str"},
            host={"type": "str"},
            phase={"type": "list", "elements": "str", "choices": PHASES},
        ),
        required_together=[["etcd_username", "etcd_password"]],
        supports_check_mode=True,
    )
    try:
        instances = list_instances(module.params)
    except ModuleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, instances=instances)


if __name__ == "__main__":
    main()
