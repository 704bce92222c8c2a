"""An instance as XML."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from etcdcompute.agent.domain_xml import DomainFiles, HostFlavour, define_domain, mac_address, read_digest
from tests.unit.agent.samples import UUID, make_instance

FILES = DomainFiles(Path("/s/disk.qcow2"), Path("/s/seed.iso"), Path("/s/console.log"))
TCG = HostFlavour("x86_64", "qemu")
KVM = HostFlavour("x86_64", "kvm")


def tree(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)


def test_the_instance_is_in_the_xml() -> None:
    root = tree(define_domain(make_instance(), name="web1", flavour=TCG, files=FILES).xml)
    assert root.get("type") == "qemu"
    assert root.findtext("uuid") == UUID
    assert root.findtext("name") == "web1"
    assert root.findtext("memory") == "512"
    assert root.find("memory").get("unit") == "MiB"  # type: ignore[union-attr]
    assert root.findtext("vcpu") == "2"
    assert [each.get("file") for each in root.findall("./devices/disk/source")] == ["/s/disk.qcow2", "/s/seed.iso"]
    assert root.find("./devices/disk[2]/readonly") is not None
    cards = root.findall("./devices/interface")
    assert [each.get("type") for each in cards] == ["network", "bridge"]
    assert cards[0].find("source").get("network") == "default"  # type: ignore[union-attr]
    assert cards[1].find("source").get("bridge") == "br0"  # type: ignore[union-attr]
    assert root.find("./devices/serial/log").get("file") == "/s/console.log"  # type: ignore[union-attr]


@pytest.mark.parametrize(("flavour", "mode"), [(KVM, "host-passthrough"), (TCG, "maximum")])
def test_the_processor_fits_the_way_of_running(flavour: HostFlavour, mode: str) -> None:
    root = tree(define_domain(make_instance(), name="web1", flavour=flavour, files=FILES).xml)
    assert root.find("cpu").get("mode") == mode  # type: ignore[union-attr]


def test_the_digest_changes_with_the_definition_and_not_with_the_generation() -> None:
    first = define_domain(make_instance(), name="web1", flavour=TCG, files=FILES)
    assert read_digest(first.xml) == first.digest
    later = define_domain(make_instance(generation=7), name="web1", flavour=TCG, files=FILES)
    assert later.digest == first.digest
    assert define_domain(make_instance(), name="web1", flavour=KVM, files=FILES).digest != first.digest


def test_a_domain_of_somebody_else_has_no_digest() -> None:
    assert read_digest("<domain><name>x</name></domain>") == ""


def test_addresses_are_stable_local_unicast_and_differ() -> None:
    addresses = [mac_address(UUID, index) for index in range(8)]
    assert addresses == [mac_address(UUID, index) for index in range(8)]
    assert len(set(addresses)) == 8
    assert all(int(each[:2], 16) & 3 == 2 for each in addresses)


def test_names_with_markup_stay_text() -> None:
    files = DomainFiles(Path("/s/<&>'\""), Path("/s/seed.iso"), Path("/s/c"))
    root = tree(define_domain(make_instance(), name="web1", flavour=TCG, files=files).xml)
    assert root.find("./devices/disk/source").get("file") == "/s/<&>'\""  # type: ignore[union-attr]
