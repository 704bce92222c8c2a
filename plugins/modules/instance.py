#!/usr/bin/python
# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance
short_description: Create, start, stop and delete virtual machines
version_added: 0.1.0
author:
  - etcd-compute contributors (@etcd-compute)
description:
  - Writes the desired state of a virtual machine to etcd, from where scheduler and agents bring it about, and waits
    for it.
  - All of an instance but its power state is fixed at its creation. A task that asks an existing instance for
    something else fails, and says what and how to go on. What a task leaves out is not compared.
options:
  name:
    description:
      - Name of the instance, unique in the cloud, and the guest's host name. Lower case letters, digits and hyphens.
      - One of O(name) and O(uuid) is required; to create an instance, O(name).
    type: str
  uuid:
    description: Identifies an instance instead of, or along with, its name. A new instance gets it, or a random one.
    type: str
  state:
    description:
      - V(present) creates the instance, running, unless it exists; an existing one keeps its power state.
      - V(started) and V(stopped) create it likewise, and see to its power state.
      - V(absent) deletes it with its disk. That it is not there is success.
      - An instance that is being deleted counts as absent; a task that creates it anew waits until the old one is gone.
    type: str
    choices: [present, absent, started, stopped]
    default: present
  image:
    description: What the disk is made from. Required to create an instance.
    type: dict
    suboptions:
      url:
        description: An C(http), C(https) or C(file) URL, or an absolute path, as the compute hosts can reach it.
        type: str
        required: true
      sha256:
        description: The image's SHA-256 sum, 64 hexadecimal digits. A host checks it before it uses the image.
        type: str
        required: true
      format:
        description: The format of the file.
        type: str
        choices: [qcow2, raw]
        default: qcow2
  resources:
    description: What the instance gets, and placement accounts for. Required to create an instance.
    type: dict
    suboptions:
      vcpus:
        description: Number of virtual CPUs (resource class C(VCPU)).
        type: int
        required: true
      memory_mib:
        description: Memory in MiB (resource class C(MEMORY_MB)).
        type: int
        required: true
      disk_gib:
        description: Size of the disk in GiB (resource class C(DISK_GB)).
        type: int
        required: true
      extra:
        description: Amounts of other resource classes, as C(CUSTOM_LICENSE).
        type: dict
  required_traits:
    description: Traits that the host must have.
    type: list
    elements: str
  forbidden_traits:
    description: Traits that the host must not have.
    type: list
    elements: str
  networks:
    description:
      - The network cards in their order, at most 8, each on a libvirt network or on a bridge of the host.
      - A new instance has one on libvirt's network V(default) unless told otherwise; an empty list means none.
    type: list
    elements: dict
    suboptions:
      network:
        description: Name of a libvirt network. Either this or O(networks[].bridge).
        type: str
      bridge:
        description: Name of a bridge that exists on the host.
        type: str
  ssh_keys:
    description: Public keys that may log in to the guest, each a line as in C(authorized_keys).
    type: list
    elements: str
  user_data:
    description:
      - What cloud-init gets as user data, at most 256 KiB.
      - Results and diffs show its digest instead of it. It does appear among the task's arguments at higher verbosity;
        set C(no_log) on a task whose user data carries secrets.
    type: str
  wait_for_address:
    description:
      - Whether waiting for a running instance includes that it has reported an address. Without networks it does not.
      - Set it to V(false) where nobody can know the address, as on a bridge with a DHCP server elsewhere.
    type: bool
    default: true
notes:
  - Runs where etcd can be reached, which is mostly C(localhost); it needs nothing beyond ansible-core.
seealso:
  - module: etcdcompute.cloud.instance_info
  - module: etcdcompute.cloud.resource_provider
extends_documentation_fragment:
  - etcdcompute.cloud.etcd
  - etcdcompute.cloud.placement
  - etcdcompute.cloud.wait
  - etcdcompute.cloud.attributes
  - etcdcompute.cloud.attributes.writes
"""

EXAMPLES = r"""
- name: A running machine with an address
  etcdcompute.cloud.instance:
    etcd_endpoints: ["http://192.0.2.11:2379"]
    name: web1
    image:
      url: https://images.example.org/debian-13.qcow2
      sha256: 0d5f0f9e8a534c629d5c0f6a7a3f1b11aa5be6ad1f4b40cd9b8e9f32bb8d7c60
    resources:
      vcpus: 2
      memory_mib: 2048
      disk_gib: 20
    ssh_keys:
      - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
  register: web1

- name: Its address
  ansible.builtin.debug:
    msg: "{{ web1.status.addresses[0].ip }}"

- name: A machine on a bridge, on a host with a fast disk, not started yet
  etcdcompute.cloud.instance:
    name: db1
    state: stopped
    image:
      url: /srv/images/debian-13.qcow2
      sha256: 0d5f0f9e8a534c629d5c0f6a7a3f1b11aa5be6ad1f4b40cd9b8e9f32bb8d7c60
    resources:
      vcpus: 4
      memory_mib: 8192
      disk_gib: 100
      extra:
        CUSTOM_LICENSE_DB: 1
    required_traits: [STORAGE_DISK_SSD]
    networks:
      - bridge: br-prod

- name: Start it
  etcdcompute.cloud.instance:
    name: db1
    state: started
    wait_for_address: false

- name: Delete several, all at once, and then wait for the last
  etcdcompute.cloud.instance:
    name: "{{ item }}"
    state: absent
    wait: "{{ item == 'web3' }}"
  loop: [web1, web2, web3]

- name: Name the connection once for all modules
  module_defaults:
    group/etcdcompute.cloud.all:
      etcd_endpoints: ["https://192.0.2.11:2379", "https://192.0.2.12:2379"]
      etcd_ca_file: /etc/etcdcompute/pki/ca.pem
  block:
    - name: Stop a machine
      etcdcompute.cloud.instance:
        name: web1
        state: stopped
"""

RETURN = r"""
instance:
  description:
    - The desired state as it stands in etcd, V(none) when the instance is gone.
    - C(user_data) is given as its digest. In check mode a new instance has the nil uuid.
  returned: success
  type: dict
  sample:
    schema: 1
    uuid: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    name: web1
    generation: 1
    image:
      url: https://images.example.org/debian-13.qcow2
      sha256: 0d5f0f9e8a534c629d5c0f6a7a3f1b11aa5be6ad1f4b40cd9b8e9f32bb8d7c60
      format: qcow2
    resources: {VCPU: 2, MEMORY_MB: 2048, DISK_GB: 20}
    required_traits: []
    forbidden_traits: []
    networks:
      - {network: default, bridge: null}
    ssh_keys: []
    user_data: ""
    power_state: running
    deleted: false
    created_at: "2026-01-31T09:05:00.123Z"
status:
  description:
    - What was last reported of the instance, V(none) where nothing was.
    - C(phase) is one of V(pending), V(assigned), V(building), V(running), V(stopped), V(deleting) and V(error).
  returned: success
  type: dict
  sample:
    schema: 1
    uuid: 6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11
    phase: running
    observed_generation: 1
    host: etcd2
    host_uuid: 0b0fa8ad-3e3d-4b5e-9d59-6f3c0a9fd0d4
    addresses:
      - {mac: "52:54:00:12:34:56", ip: 192.168.221.17, network: default}
    code: ""
    message: ""
    phase_since: "2026-01-31T09:05:02.345Z"
    updated_at: "2026-01-31T09:05:09.876Z"
changes:
  description: What this task changed, by field, each with C(before) and C(after).
  returned: success
  type: dict
  sample:
    power_state: {before: running, after: stopped}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError, Unfulfilled
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instance_task import InstanceTask
from ansible_collections.etcdcompute.cloud.plugins.module_utils.options import (
    check_timeout,
    connect_etcd,
    connection_options,
    wait_options,
)


def _shown(result: Dict[str, Any], module: AnsibleModule) -> Dict[str, Any]:
    """Return the result with the difference only where it is asked for."""
    return result if module._diff else {key: value for key, value in result.items() if key != "diff"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            connection_options(),
            **wait_options(),
            name={"type": "str"},
            uuid={"type": "str"},
            state={"type": "str", "choices": ["present", "absent", "started", "stopped"], "default": "present"},
            image={
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "format": {"type": "str", "choices": ["qcow2", "raw"], "default": "qcow2"},
                },
            },
            resources={
                "type": "dict",
                "options": {
                    "vcpus": {"type": "int", "required": True},
                    "memory_mib": {"type": "int", "required": True},
                    "disk_gib": {"type": "int", "required": True},
                    "extra": {"type": "dict"},
                },
            },
            required_traits={"type": "list", "elements": "str"},
            forbidden_traits={"type": "list", "elements": "str"},
            networks={
                "type": "list",
                "elements": "dict",
                "options": {"network": {"type": "str"}, "bridge": {"type": "str"}},
            },
            ssh_keys={"type": "list", "elements": "str", "no_log": False},
            user_data={"type": "str"},
            wait_for_address={"type": "bool", "default": True},
        ),
        required_one_of=[["name", "uuid"]],
        required_together=[["etcd_username", "etcd_password"]],
        supports_check_mode=True,
    )
    try:
        task = InstanceTask(connect_etcd(module.params), module.params, module.check_mode, check_timeout(module.params))
        result = task.run()
    except Unfulfilled as error:
        module.fail_json(msg=str(error), **_shown(error.result, module))
    except ModuleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**_shown(result, module))


if __name__ == "__main__":
    main()
