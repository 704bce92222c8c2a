"""A compute host as its agent describes it."""

from typing import ClassVar

import msgspec

from etcdcompute.model.document import Document
from etcdcompute.model.instance import Uuid


class HostVersions(msgspec.Struct, frozen=True, kw_only=True):
    """Versions of what runs on the host, as their own tools would print them; "" where unknown."""

    etcdcompute: str
    libvirt: str = ""
    qemu: str = ""
    kernel: str = ""


class HostCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What guests get: `virt_type` is kvm or qemu (software emulation), `virt_reason` why it was chosen."""

    arch: str
    virt_type: str
    virt_reason: str


class Host(Document, frozen=True, kw_only=True):
    """A compute host, at `/hosts/<uuid>`; the uuid is also that of its resource provider.

    Written by its agent, except `cordoned`, which an operator sets: no new instances there. `message` is empty or
    says in one sentence what is wrong with the host. Liveness is not here but in `/alive/<uuid>`.
    """

    kind: ClassVar[str] = "host"

    uuid: Uuid
    name: str
    address: str
    versions: HostVersions
    capabilities: HostCapabilities
    cordoned: bool = False
    message: str = ""
    registered_at: str
    updated_at: str
