"""What is loaded: trees of providers, the same ones for both sides and in every run."""

import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.wire import prepare

DEVICE = "PCI_DEVICE"
DEVICES_PER_HOST = 8
Shape = Callable[[Callable[[], str], str, int], "Provider"]
"""Makes one tree from a source of uuids, a name, and how many times the usual size it has."""

# The tree that all clients claim from has room for every claim of every run.
_ROOMY = 10_000
_FEW = 10


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider and what is below it; `inventories` by resource class."""

    uuid: str
    name: str
    inventories: Mapping[str, int]
    children: tuple["Provider", ...] = ()

    def requests(self, parent_uuid: str | None = None) -> Iterator[bytes]:
        """Return what makes the tree through the standard API, in order."""
        body: dict[str, Any] = {"name": self.name, "uuid": self.uuid}
        if parent_uuid:
            body["parent_provider_uuid"] = parent_uuid
        yield prepare("POST", "/resource_providers", body)
        inventories = {"resource_provider_generation": 0, "inventories": self._inventories()}
        yield prepare("PUT", f"/resource_providers/{self.uuid}/inventories", inventories)
        for child in self.children:
            yield from child.requests(self.uuid)

    def line(self) -> bytes:
        """Return the tree as a line of our bulk route."""
        return json.dumps(self._document()).encode() + b"\n"

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"uuid": self.uuid, "name": self.name, "inventories": self._inventories()}
        if self.children:
            document["children"] = [child._document() for child in self.children]
        return document

    def _inventories(self) -> dict[str, dict[str, int]]:
        return {name: {"total": total} for name, total in self.inventories.items()}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Trees of one shape by the number of hosts, and one more, much larger one where `roomy`.

    `ways` is in how many ways a plain request fits one tree. With `bulk` ours loads it through its bulk route; what
    is loaded through the standard API is loaded so on both sides.
    """

    key: str
    title: str
    hosts: int
    shape: Shape
    roomy: bool = False
    ways: int = 1
    bulk: bool = False

    def trees(self, scale: float) -> list[Provider]:
        """Return all trees, the roomy one at the end."""
        # Not for secrets: the same uuids in every run and on both sides.
        source = random.Random(self.key)

        def new_uuid() -> str:
            return str(uuid.UUID(int=source.getrandbits(128), version=4))

        trees = [self.shape(new_uuid, f"{self.key}-{number}", 1) for number in range(scaled(self.hosts, scale))]
        if self.roomy:
            trees.append(self.shape(new_uuid, f"{self.key}-roomy", _ROOMY))
        return trees


def scaled(count: int, scale: float) -> int:
    """Return the count at a scale; what is few stays as it is."""
    return max(min(count, _FEW), round(count * scale))


def _flat(new_uuid: Callable[[], str], name: str, times: int) -> Provider:
    inventories = {"VCPU": 64 * times, "MEMORY_MB": 65_536 * times, "DISK_GB": 4_000 * times}
    return Provider(new_uuid(), name, inventories)


def _numa(new_uuid: Callable[[], str], name: str, times: int) -> Provider:
    nodes = tuple(
        Provider(new_uuid(), f"{name}-numa{number}", {"VCPU": 32 * times, "MEMORY_MB": 32_768 * times})
        for number in range(2)
    )
    return Provider(new_uuid(), name, {"DISK_GB": 4_000 * times}, nodes)


def _wide(new_uuid: Callable[[], str], name: str, times: int) -> Provider:
    devices = tuple(
        Provider(new_uuid(), f"{name}-device{number}", {DEVICE: times}) for number in range(DEVICES_PER_HOST)
    )
    return replace(_flat(new_uuid, name, times), children=devices)


FLAT_5000 = Deployment("flat-5000", "5,000 flat providers", 5_000, _flat, roomy=True)
FLAT_20000 = Deployment("flat-20000", "20,000 flat providers", 20_000, _flat)
NUMA_5000 = Deployment(
    "numa-5000", "5,000 computes with two NUMA children", 5_000, _numa, roomy=True, ways=4, bulk=True
)
WIDE_10 = Deployment("wide-10", "10 hosts with 8 like children", 10, _wide)
DEPLOYMENTS = (FLAT_5000, FLAT_20000, NUMA_5000, WIDE_10)
