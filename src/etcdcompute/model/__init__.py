"""The typed documents that etcd holds, and the keys they live under. No I/O."""

from etcdcompute.model.assignment import Assignment
from etcdcompute.model.document import Document, DocumentError
from etcdcompute.model.host import Host, HostCapabilities, HostVersions
from etcdcompute.model.instance import ImageSource, Instance, NetworkAttachment, PowerState
from etcdcompute.model.status import Address, InstanceStatus, Phase

__all__ = [
    "Address",
    "Assignment",
    "Document",
    "DocumentError",
    "Host",
    "HostCapabilities",
    "HostVersions",
    "ImageSource",
    "Instance",
    "InstanceStatus",
    "NetworkAttachment",
    "Phase",
    "PowerState",
]
