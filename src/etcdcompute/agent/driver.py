"""libvirt, in the words of `hypervisor.Hypervisor`. With `connection` the only code that knows its binding."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from etcdcompute.agent.connection import Connection
from etcdcompute.agent.domain_xml import NAMESPACE
from etcdcompute.agent.errors import DomainRefused, NetworkNotFound
from etcdcompute.agent.hypervisor import (
    CardAddress,
    Connected,
    Domain,
    DomainChanged,
    DomainState,
    HypervisorVersions,
    distinct,
)
from etcdcompute.agent.outage import Outage

_LOG = logging.getLogger(__name__)


class LibvirtDriver:
    """The domains of one libvirtd. Safe to use from any thread.

    `on_connected` is called after every connect, `on_domain_changed` with a domain's uuid after each event of its
    life; both from libvirt's threads, so they must return at once.
    """

    def __init__(
        self, uri: str, *, outage: Outage, on_connected: Connected, on_domain_changed: DomainChanged, parallel: int = 4
    ) -> None:
        self._connection = Connection(
            uri, outage=outage, on_connected=on_connected, on_domain_changed=on_domain_changed, parallel=parallel
        )
        self._libvirt: Any = self._connection.libvirt

    def open(self) -> None:
        """Begin to connect."""
        self._connection.open()

    def close(self) -> None:
        """Let go of libvirtd; domains run on."""
        self._connection.close()

    def versions(self) -> HypervisorVersions:
        """Return the versions of libvirt and qemu."""
        with self._connection.calls() as connection:
            return HypervisorVersions(_dotted(connection.getLibVersion()), _dotted(connection.getVersion()))

    def domain(self, uuid: str) -> Domain | None:
        """Return one domain, ours or not; None where there is none."""
        with self._domain(uuid) as domain:
            return None if domain is None else self._describe(domain)

    def own_domains(self) -> tuple[Domain, ...]:
        """Return the domains that carry our metadata."""
        with self._connection.calls() as connection:
            described = []
            for domain in connection.listAllDomains():
                # A domain may go between being listed and being looked at.
                with self._absence_is_fine():
                    described.append(self._describe(domain))
        return tuple(each for each in described if each.ours)

    def name_owner(self, name: str) -> str | None:
        """Return the uuid of the domain with this name; None where there is none."""
        domain = None
        with self._connection.calls() as connection, self._absence_is_fine():
            domain = connection.lookupByName(name)
        return None if domain is None else str(domain.UUIDString())

    def define(self, xml: str) -> None:
        """Define, or define anew, a domain."""
        with self._connection.calls() as connection:
            try:
                connection.defineXML(xml)
            except self._libvirt.libvirtError as error:
                self._raise_unless_lost(connection, f"libvirt refuses the domain: {error}", error)

    def start(self, uuid: str) -> None:
        """Start a defined domain; that it runs already is success."""
        with self._domain(uuid) as domain:
            if domain is None:
                raise DomainRefused("the domain went while it was to be started")
            try:
                domain.create()
            except self._libvirt.libvirtError as error:
                if domain.isActive():
                    return
                self._raise_unless_lost(domain.connect(), f"libvirt cannot start the domain: {error}", error)

    def resume(self, uuid: str) -> None:
        """Let a paused domain go on; that it runs, or is absent, is success."""
        with self._domain(uuid) as domain:
            if domain is None:
                return
            try:
                with self._inactivity_is_fine():
                    domain.resume()
            except self._libvirt.libvirtError as error:
                self._raise_unless_lost(domain.connect(), f"libvirt cannot resume the domain: {error}", error)

    def request_shutdown(self, uuid: str) -> None:
        """Ask the guest to shut down; it may not heed it."""
        with self._domain(uuid) as domain, self._inactivity_is_fine():
            if domain is not None:
                domain.shutdown()

    def destroy(self, uuid: str) -> None:
        """End the domain at once; that it is off or absent is success."""
        with self._domain(uuid) as domain, self._inactivity_is_fine():
            if domain is not None:
                domain.destroy()

    def undefine(self, uuid: str) -> None:
        """Remove the definition and what libvirt keeps with it; absence is success."""
        libvirt = self._libvirt
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )
        with self._domain(uuid) as domain, self._absence_is_fine():
            if domain is not None:
                domain.undefineFlags(flags)

    def ensure_network(self, name: str) -> None:
        """Have a libvirt network active, now and after a reboot."""
        with self._connection.calls() as connection:
            try:
                network = connection.networkLookupByName(name)
            except self._libvirt.libvirtError as error:
                if error.get_error_code() != self._libvirt.VIR_ERR_NO_NETWORK:
                    raise
                raise NetworkNotFound(
                    f"there is no libvirt network {name!r} on this host: define it, or name another in networks"
                ) from error
            if not network.isActive():
                try:
                    network.create()
                    _LOG.info("started libvirt's network %s", name)
                except self._libvirt.libvirtError as error:
                    # Another worker may have been first.
                    if not network.isActive():
                        raise NetworkNotFound(f"libvirt's network {name!r} cannot be started: {error}") from error
            if not network.autostart():
                network.setAutostart(1)

    def addresses(self, uuid: str, *, leases: bool, neighbours: bool) -> tuple[CardAddress, ...]:
        """Return addresses by libvirt's DHCP leases and, for bridges, by the host's neighbour table."""
        libvirt = self._libvirt
        sources = [
            source
            for wanted, source in (
                (leases, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE),
                (neighbours, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP),
            )
            if wanted
        ]
        found = []
        with self._domain(uuid) as domain:
            for source in sources if domain is not None else ():
                for card in self._cards(domain, source):
                    mac = str(card["hwaddr"]).lower()
                    found += [CardAddress(mac, each["addr"]) for each in card["addrs"] or ()]
        return distinct(each for each in found if not each.ip.lower().startswith("fe80:"))

    def _cards(self, domain: Any, source: int) -> list[dict[str, Any]]:
        libvirt = self._libvirt
        with self._inactivity_is_fine():
            try:
                return list(domain.interfaceAddresses(source).values())
            except libvirt.libvirtError as error:
                # libvirt 9.0 says "wrong nlmsg len" where the neighbour table is empty.
                empty_table = source == libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP
                if not empty_table or error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR:
                    raise
        return []

    @contextlib.contextmanager
    def _domain(self, uuid: str) -> Iterator[Any]:
        """Give libvirt's object of a domain, or None."""
        with self._connection.calls() as connection:
            domain = None
            with self._absence_is_fine():
                domain = connection.lookupByUUIDString(uuid)
            yield domain

    @contextlib.contextmanager
    def _absence_is_fine(self) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            if error.get_error_code() != self._libvirt.VIR_ERR_NO_DOMAIN:
                raise

    @contextlib.contextmanager
    def _inactivity_is_fine(self) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            harmless = (self._libvirt.VIR_ERR_NO_DOMAIN, self._libvirt.VIR_ERR_OPERATION_INVALID)
            if error.get_error_code() not in harmless:
                raise

    def _raise_unless_lost(self, connection: Any, message: str, error: Any) -> None:
        """Turn libvirt's refusal into ours; a lost connection is for `calls` to notice."""
        if not connection.isAlive():
            raise error
        raise DomainRefused(" ".join(message.split())) from error

    def _describe(self, domain: Any) -> Domain:
        state, reason = domain.state()
        uuid = str(domain.UUIDString())
        known = self._state(domain, state, reason)
        return Domain(uuid, str(domain.name()), known, self._digest(domain), self._reason(state, reason))

    def _state(self, domain: Any, state: int, reason: int) -> DomainState:
        libvirt = self._libvirt
        if (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR):
            return DomainState.STARVED if self._lacks_space(domain) else DomainState.PAUSED
        if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED):
            return DomainState.SHUT_OFF
        if state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED):
            return DomainState.PAUSED
        return DomainState.RUNNING

    def _lacks_space(self, domain: Any) -> bool:
        """Tell whether want of space, and nothing else, is what a paused domain's disks complain of."""
        errors: dict[str, int] = {}
        with self._inactivity_is_fine():
            errors = domain.diskErrors()
        return set(errors.values()) == {self._libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE}

    def _reason(self, state: int, reason: int) -> str:
        if state == self._libvirt.VIR_DOMAIN_PMSUSPENDED:
            return "the guest suspended itself"
        if state != self._libvirt.VIR_DOMAIN_PAUSED:
            return ""
        return {
            self._libvirt.VIR_DOMAIN_PAUSED_USER: "somebody paused it",
            self._libvirt.VIR_DOMAIN_PAUSED_IOERROR: "its disk had an input/output error",
            self._libvirt.VIR_DOMAIN_PAUSED_CRASHED: "the guest crashed",
        }.get(reason, f"libvirt's reason {reason}")

    def _digest(self, domain: Any) -> str:
        libvirt = self._libvirt
        try:
            text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                raise
            return ""
        return _digest_of(text)


def _digest_of(element: str) -> str:
    from xml.etree import ElementTree

    return ElementTree.fromstring(element).get("digest", "")  # noqa: S314 - libvirt's own XML


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
