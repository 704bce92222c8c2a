"""Stand-ins for etcd, libvirt, placement and the clock."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from etcdcompute.agent.domain_xml import read_digest
from etcdcompute.agent.errors import DomainRefused
from etcdcompute.agent.hypervisor import CardAddress, Domain, DomainState, HypervisorVersions
from etcdcompute.kv.records import Committed, Compare, Comparison, Item, Operation, Rejected, Remove, Write


class FakeStore:
    """etcd's transactions over a dictionary."""

    def __init__(self) -> None:
        self.revision = 1
        self.items: dict[str, Item] = {}
        self.commits = 0

    def get(self, key: str, **_: Any) -> Item | None:
        return self.items.get(key)

    def current_revision(self, **_: Any) -> int:
        return self.revision

    def put(self, key: str, value: bytes) -> None:
        self.commit([], [Write(key, value)])

    def commit(self, compares: list[Compare], operations: list[Operation], **_: Any) -> Committed | Rejected:
        for compare in compares:
            item = self.items.get(compare.key)
            holds = {
                Comparison.ABSENT: item is None,
                Comparison.PRESENT: item is not None,
                Comparison.UNCHANGED: item is not None and item.mod_revision == compare.mod_revision,
            }
            if not holds[compare.comparison]:
                return Rejected(self.revision)
        self.revision += 1
        self.commits += 1
        for operation in operations:
            match operation:
                case Write(key, value):
                    self.items[key] = Item(key, value, self.revision, self.revision, 1)
                case Remove(key):
                    self.items.pop(key, None)
                case _:
                    raise AssertionError(operation)
        return Committed(self.revision)


class FakeHypervisor:
    """libvirt over a dictionary."""

    def __init__(self) -> None:
        self.known: dict[str, Domain] = {}
        self.calls: list[str] = []
        self.refusal = ""
        self.found: tuple[CardAddress, ...] = ()
        self.heeds_shutdown = True

    def versions(self) -> HypervisorVersions:
        return HypervisorVersions("9.0.0", "7.2.0")

    def domain(self, uuid: str) -> Domain | None:
        return self.known.get(uuid)

    def own_domains(self) -> tuple[Domain, ...]:
        return tuple(each for each in self.known.values() if each.ours)

    def name_owner(self, name: str) -> str | None:
        return next((each.uuid for each in self.known.values() if each.name == name), None)

    def define(self, xml: str) -> None:
        from xml.etree import ElementTree

        root = ElementTree.fromstring(xml)
        uuid, name = str(root.findtext("uuid")), str(root.findtext("name"))
        self.calls.append("define")
        self.known[uuid] = Domain(uuid, name, DomainState.SHUT_OFF, read_digest(xml))

    def set_state(self, uuid: str, state: DomainState, reason: str = "") -> None:
        self.known[uuid] = replace(self.known[uuid], state=state, reason=reason)

    def start(self, uuid: str) -> None:
        self.calls.append("start")
        if self.refusal:
            raise DomainRefused(self.refusal)
        self.set_state(uuid, DomainState.RUNNING)

    def resume(self, uuid: str) -> None:
        self.calls.append("resume")
        self.set_state(uuid, DomainState.RUNNING)

    def request_shutdown(self, uuid: str) -> None:
        self.calls.append("shutdown")
        if self.heeds_shutdown:
            self.set_state(uuid, DomainState.SHUT_OFF)

    def destroy(self, uuid: str) -> None:
        self.calls.append("destroy")
        self.set_state(uuid, DomainState.SHUT_OFF)

    def undefine(self, uuid: str) -> None:
        self.calls.append("undefine")
        del self.known[uuid]

    def ensure_network(self, name: str) -> None:
        self.calls.append(f"network {name}")

    def addresses(self, uuid: str, *, leases: bool, neighbours: bool) -> tuple[CardAddress, ...]:
        self.calls.append("addresses")
        return self.found


class FakePlacement:
    """Who has an allocation."""

    def __init__(self) -> None:
        self.released: list[str] = []

    def release(self, consumer: str) -> None:
        self.released.append(consumer)


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeAssignments:
    """What is assigned."""

    def __init__(self, *uuids: str) -> None:
        self.assigned = frozenset(uuids)
        self.complete = True

    def uuids(self) -> frozenset[str]:
        return self.assigned


class FakeOrphans:
    """What was settled."""

    def __init__(self) -> None:
        self.settled: list[str] = []

    def settle(self, uuid: str) -> None:
        self.settled.append(uuid)


class FakeImages:
    """One image that is there, or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.there = True
        self.withdrawn: list[str] = []

    def cached(self, _source: object) -> Path | None:
        return self.path if self.there else None

    def request(self, _source: object, _waiter: str) -> Path | None:
        return self.path if self.there else None

    def withdraw(self, waiter: str) -> None:
        self.withdrawn.append(waiter)
