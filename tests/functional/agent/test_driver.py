"""What the driver tells of a real libvirtd, and the probe's guest on a real qemu."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from etcdcompute.agent.disks import create_overlay, read_virtual_size
from etcdcompute.agent.domain_xml import DomainDefinition, DomainFiles, HostFlavour, define_domain
from etcdcompute.agent.driver import LibvirtDriver
from etcdcompute.agent.errors import DomainRefused, LibvirtUnavailable, NetworkNotFound
from etcdcompute.agent.hypervisor import Domain, DomainState
from etcdcompute.agent.outage import Outage
from etcdcompute.agent.probe import run_probe_guest
from etcdcompute.agent.seed import create_seed
from etcdcompute.model import ImageSource, NetworkAttachment
from tests.functional.agent.guests import WRITTEN_BYTES, write_writer
from tests.functional.agent.host import wait_until
from tests.functional.agent.libvirt_server import LibvirtServer
from tests.unit.agent.samples import UUID, make_instance

WAIT_S = 30.0


class Driver(LibvirtDriver):
    """A driver with what it has said."""

    def __init__(self, uri: str) -> None:
        self.connected = threading.Event()
        self.events: queue.Queue[str] = queue.Queue()
        super().__init__(
            uri, outage=Outage("libvirt"), on_connected=self.connected.set, on_domain_changed=self.events.put
        )


@pytest.fixture
def driver(libvirtd: LibvirtServer) -> Iterator[Driver]:
    made = Driver(libvirtd.uri)
    made.open()
    assert made.connected.wait(WAIT_S)
    yield made
    made.destroy(UUID)
    made.undefine(UUID)
    made.close()


@pytest.fixture
def definition(tmp_path: Path, image: ImageSource) -> DomainDefinition:
    """A domain with every kind of device that we know, its files in place."""
    networks = (NetworkAttachment(network="default"), NetworkAttachment(network="default"))
    instance = make_instance(image=image, networks=networks)
    files = DomainFiles(tmp_path / "disk.qcow2", tmp_path / "seed.iso", tmp_path / "console.log")
    create_overlay(Path(image.url), image, files.disk, disk_gib=1)
    create_seed(instance, files.seed)
    assert read_virtual_size(Path(image.url), "raw", name="image") == 512
    return define_domain(instance, name="web1", flavour=HostFlavour("x86_64", "qemu"), files=files)


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_the_xml_is_what_libvirts_schema_allows(libvirtd: LibvirtServer, tmp_path: Path, virt_type: str) -> None:
    files = DomainFiles(tmp_path / "disk.qcow2", tmp_path / "seed.iso", tmp_path / "console.log")
    made = define_domain(make_instance(), name="web1", flavour=HostFlavour("x86_64", virt_type), files=files)
    connection = libvirt.open(libvirtd.uri)
    refusal = 0
    try:
        # Without KVM in the machine libvirt refuses to define a kvm domain, but only after it has checked the schema.
        connection.defineXMLFlags(made.xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()
    except libvirt.libvirtError as error:
        refusal = error.get_error_code()
    finally:
        connection.close()
    assert refusal in (0, libvirt.VIR_ERR_CONFIG_UNSUPPORTED)


def test_the_life_of_a_domain(driver: Driver, definition: DomainDefinition) -> None:
    driver.ensure_network("default")
    driver.define(definition.xml)
    assert driver.events.get(timeout=WAIT_S) == UUID
    defined = driver.domain(UUID)
    assert defined == Domain(UUID, "web1", DomainState.SHUT_OFF, definition.digest)
    assert defined.ours
    assert driver.own_domains() == (defined,)
    assert driver.name_owner("web1") == UUID
    driver.start(UUID)
    driver.start(UUID)
    running = driver.domain(UUID)
    assert running is not None
    assert running.state is DomainState.RUNNING
    # Both ways of asking, with no guest that has an address.
    assert driver.addresses(UUID, leases=True, neighbours=True) == ()
    for _ in range(2):
        driver.destroy(UUID)
    for _ in range(2):
        driver.undefine(UUID)
    assert driver.domain(UUID) is None
    assert driver.name_owner("web1") is None
    assert driver.addresses(UUID, leases=True, neighbours=True) == ()


def test_refusals_are_sentences(driver: Driver, definition: DomainDefinition) -> None:
    with pytest.raises(NetworkNotFound, match="there is no libvirt network 'absent'"):
        driver.ensure_network("absent")
    with pytest.raises(DomainRefused, match="libvirt refuses the domain"):
        driver.define("<domain type='qemu'><name>x</name></domain>")
    driver.define(definition.xml.replace("disk.qcow2", "absent.qcow2"))
    with pytest.raises(DomainRefused, match=r"libvirt cannot start the domain: .*absent.qcow2") as raised:
        driver.start(UUID)
    assert "\n" not in str(raised.value)


def test_a_paused_domain_says_why(driver: Driver, definition: DomainDefinition, libvirtd: LibvirtServer) -> None:
    driver.ensure_network("default")
    driver.define(definition.xml)
    driver.start(UUID)
    connection = libvirt.open(libvirtd.uri)
    connection.lookupByUUIDString(UUID).suspend()
    connection.close()
    paused = driver.domain(UUID)
    assert paused is not None
    assert (paused.state, paused.reason) == (DomainState.PAUSED, "somebody paused it")


def test_a_guest_that_finds_no_space_is_known_and_goes_on(
    driver: Driver, libvirtd: LibvirtServer, tmp_path: Path
) -> None:
    image = write_writer(tmp_path / "writer.img")
    small = tmp_path / "small"
    small.mkdir()
    # Only libvirtd and its guests see the small filesystem: theirs are mounts of their own.
    libvirtd.run("mount", "-t", "tmpfs", "-o", f"size={WRITTEN_BYTES // 2}", "tmpfs", str(small))
    files = DomainFiles(tmp_path / "disk.qcow2", tmp_path / "seed.iso", tmp_path / "console.log")
    instance = make_instance(image=image, networks=())
    create_overlay(Path(image.url), image, files.disk, disk_gib=1)
    create_seed(instance, files.seed)
    libvirtd.run("cp", str(files.disk), str(small))
    there = DomainFiles(small / "disk.qcow2", files.seed, files.console_log)
    made = define_domain(instance, name="writer", flavour=HostFlavour("x86_64", "qemu"), files=there)
    driver.define(made.xml)
    driver.start(UUID)

    def state() -> DomainState:
        domain = driver.domain(UUID)
        assert domain is not None
        return domain.state

    wait_until(lambda: state() is DomainState.STARVED, "the guest to find no space", WAIT_S)
    driver.resume(UUID)
    wait_until(lambda: state() is DomainState.STARVED, "the guest to find none again", WAIT_S)
    libvirtd.run("mount", "-o", f"remount,size={WRITTEN_BYTES * 2}", str(small))
    driver.resume(UUID)

    def written() -> bool:
        return int(libvirtd.run("stat", "--format=%s", str(small / "disk.qcow2"))) > WRITTEN_BYTES

    wait_until(written, "the guest to have written all", WAIT_S)
    assert state() is DomainState.RUNNING
    driver.resume(UUID)
    assert state() is DomainState.RUNNING


def test_a_domain_of_somebody_else_is_not_ours(driver: Driver, libvirtd: LibvirtServer) -> None:
    connection = libvirt.open(libvirtd.uri)
    try:
        domain = connection.defineXML(
            f"<domain type='qemu'><name>theirs</name><uuid>{UUID}</uuid><memory unit='MiB'>16</memory>"
            "<os><type arch='x86_64'>hvm</type></os></domain>"
        )
        found = driver.domain(UUID)
        assert found is not None
        assert not found.ours
        assert driver.own_domains() == ()
        domain.undefine()
    finally:
        connection.close()


def test_a_libvirtd_that_crashes_is_connected_to_again(
    driver: Driver, definition: DomainDefinition, libvirtd: LibvirtServer
) -> None:
    driver.ensure_network("default")
    driver.define(definition.xml)
    driver.start(UUID)
    driver.connected.clear()
    libvirtd.kill()

    def unavailable() -> bool:
        try:
            driver.versions()
        except LibvirtUnavailable:
            return True
        return False

    wait_until(unavailable, "the driver notices")
    libvirtd.start()
    assert driver.connected.wait(WAIT_S)
    running = driver.domain(UUID)
    assert running is not None
    assert running.state is DomainState.RUNNING
    while not driver.events.empty():
        driver.events.get()
    driver.destroy(UUID)
    assert driver.events.get(timeout=WAIT_S) == UUID


def test_the_probes_guest_gets_through_under_emulation() -> None:
    assert run_probe_guest("tcg", 60).failure == ""


def test_the_probes_guest_that_cannot_run_is_said() -> None:
    assert "failed (qemu's status 1)" in run_probe_guest("absent", 10).failure
