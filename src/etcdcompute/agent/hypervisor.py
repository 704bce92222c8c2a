"""What the rest of the agent knows of libvirt: values, and what can be done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class DomainState(StrEnum):
    """A domain's state, as far as the agent decides by it."""

    ABSENT = "absent"
    SHUT_OFF = "shut off"
    RUNNING = "running"
    PAUSED = "paused"
    # Paused by qemu, since its disk found no space on the host: nothing was lost, and it can go on.
    STARVED = "starved"


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as libvirt has it. `digest` is "" where it does not carry our metadata: then it is not ours."""

    uuid: str
    name: str
    state: DomainState
    digest: str
    reason: str = ""

    @property
    def ours(self) -> bool:
        """Whether this project made it."""
        return bool(self.digest)


@dataclass(frozen=True, slots=True)
class CardAddress:
    """An address of a network card: `mac` in lower case with colons, `ip` without prefix length."""

    mac: str
    ip: str


@dataclass(frozen=True, slots=True)
class HypervisorVersions:
    """Versions as dotted numbers, "" where unknown."""

    libvirt: str = ""
    qemu: str = ""


class Hypervisor(Protocol):
    """libvirt, as the driver provides it. Everything may raise LibvirtUnavailable; absence is never an error."""

    def versions(self) -> HypervisorVersions:
        """Return the versions of libvirt and qemu."""
        ...

    def domain(self, uuid: str) -> Domain | None:
        """Return one domain, ours or not; None where there is none."""
        ...

    def own_domains(self) -> tuple[Domain, ...]:
        """Return the domains that carry our metadata."""
        ...

    def name_owner(self, name: str) -> str | None:
        """Return the uuid of the domain with this name; None where there is none."""
        ...

    def define(self, xml: str) -> None:
        """Define, or define anew, a domain; DomainRefused with libvirt's reason."""
        ...

    def start(self, uuid: str) -> None:
        """Start a defined domain; that it runs already is success. DomainRefused with libvirt's reason."""
        ...

    def resume(self, uuid: str) -> None:
        """Let a paused domain go on; that it runs, or is absent, is success. DomainRefused with libvirt's reason."""
        ...

    def request_shutdown(self, uuid: str) -> None:
        """Ask the guest to shut down (ACPI); it may not heed it."""
        ...

    def destroy(self, uuid: str) -> None:
        """End the domain at once; that it is off or absent is success."""
        ...

    def undefine(self, uuid: str) -> None:
        """Remove the definition and what libvirt keeps with it; absence is success."""
        ...

    def ensure_network(self, name: str) -> None:
        """Have a libvirt network active, now and after a reboot; NetworkNotFound where it is not defined."""
        ...

    def addresses(self, uuid: str, *, leases: bool, neighbours: bool) -> tuple[CardAddress, ...]:
        """Return addresses by libvirt's DHCP leases and, for bridges, by the host's neighbour table."""
        ...


DomainChanged = Callable[[str], None]
Connected = Callable[[], None]


def distinct(addresses: Iterable[CardAddress]) -> tuple[CardAddress, ...]:
    """Return the addresses in a stable order, each once."""
    return tuple(sorted(set(addresses), key=lambda each: (each.mac, ":" in each.ip, each.ip)))
