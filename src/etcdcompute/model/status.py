"""What has become of an instance."""

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from etcdcompute.model.document import Document
from etcdcompute.model.instance import Uuid


class Phase(StrEnum):
    """Where an instance stands on its way to the desired state."""

    PENDING = "pending"  # no host yet; the message says why
    ASSIGNED = "assigned"  # a host has been chosen and its agent has not begun
    BUILDING = "building"  # the agent is preparing image, disk and seed
    RUNNING = "running"
    STOPPED = "stopped"
    DELETING = "deleting"
    ERROR = "error"  # the last attempt failed; the message says why and what comes next


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address of a network card: `mac` in colon notation, `ip` without a prefix length."""

    mac: str
    ip: str
    network: str


class InstanceStatus(Document, frozen=True, kw_only=True):
    """The observed state, at `/status/instances/<uuid>`; written by the scheduler until assigned, then by the agent.

    `observed_generation` is the generation of the instance that this status speaks of: a client that wrote generation
    n waits for a status that has observed n. `host` is the host's name, `host_uuid` its provider in placement.
    `code` is the stable code of what stands in the message, "" where all is well. Times are RFC 3339 in UTC.
    """

    kind: ClassVar[str] = "instance status"

    uuid: Uuid
    phase: Phase
    observed_generation: Annotated[int, msgspec.Meta(ge=0)]
    host: str = ""
    host_uuid: str = ""
    addresses: tuple[Address, ...] = ()
    code: str = ""
    message: str = ""
    phase_since: str
    updated_at: str
