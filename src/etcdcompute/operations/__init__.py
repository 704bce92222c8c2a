"""What clients do to instances and hosts: each change one transaction, each refusal a typed error.

Shared by the command line and the tests. Names and uuids are both taken as references.
"""

from etcdcompute.operations.hosts import HostRow, find_host, list_hosts, set_cordoned
from etcdcompute.operations.instances import (
    InstanceRow,
    create_instance,
    delete_instance,
    find_instance,
    list_instances,
    set_power_state,
)
from etcdcompute.operations.waiting import InstanceFailed, TimedOut, wait_until_gone, wait_until_settled

__all__ = [
    "HostRow",
    "InstanceFailed",
    "InstanceRow",
    "TimedOut",
    "create_instance",
    "delete_instance",
    "find_host",
    "find_instance",
    "list_hosts",
    "list_instances",
    "set_cordoned",
    "set_power_state",
    "wait_until_gone",
    "wait_until_settled",
]
