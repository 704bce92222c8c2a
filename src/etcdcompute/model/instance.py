"""The desired instance: what a client asks for and every daemon works towards."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from etcdcompute.model.document import Document

# \Z, not $: that lets a line end through, and a name from a YAML block has one.
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", max_length=63)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
ResourceClass = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]+\Z", max_length=255)]
TraitName = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]+\Z", max_length=255)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
DeviceName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,15}\Z")]
NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")]

REQUIRED_RESOURCES = ("VCPU", "MEMORY_MB", "DISK_GB")
USER_DATA_LIMIT = 256 * 1024

# How clients say which fields of an existing instance cannot be changed: all but these.
MUTABLE_FIELDS = frozenset({"power_state", "generation", "deleted"})


class PowerState(StrEnum):
    """The power state a client asks for."""

    RUNNING = "running"
    STOPPED = "stopped"


class ImageSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a disk image comes from: an http(s) or file URL, or an absolute path on the compute host.

    `sha256` (64 hexadecimal digits) is what a host checks before it uses the image, and the name under which it
    caches it. `format` is the format of the file: qcow2 or raw.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+|file:///\S+|/\S+)\Z", max_length=2048)]
    sha256: Sha256
    format: Annotated[str, msgspec.Meta(pattern=r"^(qcow2|raw)\Z")] = "qcow2"


class NetworkAttachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One network card: on a libvirt network, or on a bridge that exists on the host. Exactly one is given."""

    network: NetworkName | None = None
    bridge: DeviceName | None = None

    def __post_init__(self) -> None:
        if (self.network is None) == (self.bridge is None):
            raise ValueError("give either network (a libvirt network) or bridge (a bridge on the host)")


class Instance(Document, frozen=True, kw_only=True):
    """The desired state of one VM, at `/instances/<uuid>`; written by clients alone.

    `resources` maps resource classes to amounts: VCPU (count), MEMORY_MB (MiB) and DISK_GB (GiB) are required, others
    are passed to placement as they are. `generation` grows by one with each change a client makes. `deleted` is the
    tombstone: the instance is to be taken down, and its keys go last.
    """

    kind: ClassVar[str] = "instance"

    uuid: Uuid
    name: Name
    generation: Annotated[int, msgspec.Meta(ge=1)] = 1
    image: ImageSource
    resources: dict[ResourceClass, Amount]
    required_traits: tuple[TraitName, ...] = ()
    forbidden_traits: tuple[TraitName, ...] = ()
    networks: Annotated[tuple[NetworkAttachment, ...], msgspec.Meta(max_length=8)] = (
        NetworkAttachment(network="default"),
    )
    ssh_keys: tuple[str, ...] = ()
    user_data: str = ""
    power_state: PowerState = PowerState.RUNNING
    deleted: bool = False
    created_at: str

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED_RESOURCES if name not in self.resources]
        if missing:
            raise ValueError(f"resources lack {', '.join(missing)}")
        for key in self.ssh_keys:
            if not re.fullmatch(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]*)?", key):
                raise ValueError("ssh_keys must be public keys, one line each: 'ssh-ed25519 AAAA… comment'")
        if len(self.user_data.encode()) > USER_DATA_LIMIT:
            raise ValueError(f"user_data is larger than {USER_DATA_LIMIT} bytes")
        overlap = sorted(set(self.required_traits) & set(self.forbidden_traits))
        if overlap:
            raise ValueError(f"traits both required and forbidden: {', '.join(overlap)}")
