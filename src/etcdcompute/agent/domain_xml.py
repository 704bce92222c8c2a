"""An instance as libvirt's XML. Pure: the same instance on the same host gives the same text.

The guest gets a virtio disk (vda), its seed as a second, read-only virtio disk (vdb; NoCloud finds it by its label,
and a guest needs no CD-ROM driver for it), virtio network cards in the order of the instance's networks, a serial
port whose output libvirt also writes to a file, and a random number generator. Whoever finds the domain tells by the
metadata that it is ours and whether its definition is current.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from etcdcompute.model import Instance

NAMESPACE = "https://etcd-compute.org/xmlns/domain/1"
PREFIX = "etcdcompute"

ElementTree.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True, slots=True)
class HostFlavour:
    """What of a host goes into its domains: `virt_type` is kvm or qemu."""

    arch: str
    virt_type: str


@dataclass(frozen=True, slots=True)
class DomainFiles:
    """The files a domain is made of."""

    disk: Path
    seed: Path
    console_log: Path


@dataclass(frozen=True, slots=True)
class DomainDefinition:
    """The XML for libvirt, and the digest of all of it but the digest, which the XML's metadata holds."""

    xml: str
    digest: str


def mac_address(uuid: str, index: int) -> str:
    """Return the address of an instance's card: the same for ever, different (of 2^32) for every other card."""
    octets = hashlib.sha256(f"{uuid}/{index}".encode()).digest()[:4]
    # 52:54 is in the range for local use, and what people know as qemu's.
    return ":".join(["52", "54", *(f"{octet:02x}" for octet in octets)])


def define_domain(instance: Instance, *, name: str, flavour: HostFlavour, files: DomainFiles) -> DomainDefinition:
    """Return the definition of an instance's domain, which libvirt is to know as `name`."""
    root = ElementTree.Element("domain", type=flavour.virt_type)
    _text(root, "name", name)
    _text(root, "uuid", instance.uuid)
    _text(root, "title", instance.name)
    metadata = ElementTree.SubElement(root, "metadata")
    mark = ElementTree.SubElement(metadata, f"{{{NAMESPACE}}}instance", uuid=instance.uuid)
    _text(root, "memory", str(instance.resources["MEMORY_MB"]), unit="MiB")
    _text(root, "vcpu", str(instance.resources["VCPU"]))
    system = ElementTree.SubElement(root, "os")
    _text(system, "type", "hvm", arch=flavour.arch, machine="q35" if flavour.virt_type == "kvm" else "pc")
    features = ElementTree.SubElement(root, "features")
    ElementTree.SubElement(features, "acpi")
    ElementTree.SubElement(features, "apic")
    _cpu(root, flavour)
    ElementTree.SubElement(root, "clock", offset="utc")
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart")
    _text(root, "on_crash", "destroy")
    _devices(ElementTree.SubElement(root, "devices"), instance, files)
    digest = hashlib.sha256(ElementTree.tostring(root)).hexdigest()[:32]
    # The generation is for people: what a client can change (the power state) is not part of the definition.
    mark.set("generation", str(instance.generation))
    mark.set("digest", digest)
    ElementTree.indent(root)
    return DomainDefinition(ElementTree.tostring(root, encoding="unicode"), digest)


def read_digest(xml: str) -> str:
    """Return the digest that a domain's XML carries; "" where it carries none and so is not ours."""
    mark = ElementTree.fromstring(xml).find(f"./metadata/{{{NAMESPACE}}}instance")  # noqa: S314 - libvirt's own XML
    return "" if mark is None else mark.get("digest", "")


def _cpu(root: ElementTree.Element, flavour: HostFlavour) -> None:
    if flavour.virt_type == "kvm":
        # There is no live migration, so a guest may see what its host has.
        ElementTree.SubElement(root, "cpu", mode="host-passthrough", check="none", migratable="off")
        return
    cpu = ElementTree.SubElement(root, "cpu", mode="maximum", check="none", migratable="off")
    # Five levels of page tables cost emulation time and give a small guest nothing.
    ElementTree.SubElement(cpu, "feature", policy="disable", name="la57")


def _devices(devices: ElementTree.Element, instance: Instance, files: DomainFiles) -> None:
    disk = _disk(devices, files.disk, "qcow2", "vda")
    ElementTree.SubElement(disk, "boot", order="1")
    seed = _disk(devices, files.seed, "raw", "vdb")
    ElementTree.SubElement(seed, "readonly")
    for index, network in enumerate(instance.networks):
        kind = "network" if network.network is not None else "bridge"
        card = ElementTree.SubElement(devices, "interface", type=kind)
        ElementTree.SubElement(card, "mac", address=mac_address(instance.uuid, index))
        ElementTree.SubElement(card, "source", {kind: network.network or network.bridge or ""})
        ElementTree.SubElement(card, "model", type="virtio")
        # Nothing boots from the network; without its ROM the firmware is done sooner.
        ElementTree.SubElement(card, "rom", enabled="no")
    serial = ElementTree.SubElement(devices, "serial", type="pty")
    ElementTree.SubElement(serial, "log", file=str(files.console_log), append="on")
    ElementTree.SubElement(serial, "target", port="0")
    console = ElementTree.SubElement(devices, "console", type="pty")
    ElementTree.SubElement(console, "target", type="serial", port="0")
    ElementTree.SubElement(devices, "controller", type="usb", model="none")
    rng = ElementTree.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    ElementTree.SubElement(devices, "memballoon", model="virtio")


def _disk(devices: ElementTree.Element, path: Path, image_format: str, target: str) -> ElementTree.Element:
    disk = ElementTree.SubElement(devices, "disk", type="file", device="disk")
    ElementTree.SubElement(disk, "driver", name="qemu", type=image_format)
    ElementTree.SubElement(disk, "source", file=str(path))
    ElementTree.SubElement(disk, "target", dev=target, bus="virtio")
    return disk


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
