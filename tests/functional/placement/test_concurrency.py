"""Many clients, three services, three members of etcd or one Neo4j: no promise is broken, whoever dies."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
import urllib3

from etcdcompute.errors import OutcomeUnknown, Unavailable
from etcdcompute.placement.client import Inventory, NoCapacity, PlacementClient
from tests.functional.etcd_server import EtcdCluster
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.server import PlacementProcess
from tests.functional.waiting import eventually

TIMEOUT_S = 120.0


class Database(Protocol):
    """What the services keep the graph in, as far as trouble is concerned."""

    url: str

    def kill(self) -> None:
        """Kill what decides in it."""

    def mend(self) -> None:
        """Start what was killed."""

    def freeze(self) -> None:
        """Have what decides in it stand still, for as long as it takes to be noticed."""

    def thaw(self) -> None:
        """Let it go on."""

    @property
    def serves_without(self) -> bool:
        """Whether claims go on while it is killed or frozen: another takes over."""


class Etcd:
    """Three members, of which one leads."""

    serves_without = True

    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster
        self._chosen = cluster.leader()
        self.url = "etcd://" + ",".join(endpoint.removeprefix("http://") for endpoint in cluster.endpoints)

    def kill(self) -> None:
        self._chosen = self._cluster.leader()
        self._chosen.kill()

    def mend(self) -> None:
        self._chosen.start()

    def freeze(self) -> None:
        self._chosen = self._cluster.leader()
        self._chosen.freeze()

    def thaw(self) -> None:
        self._chosen.thaw()


class Neo4j:
    """One server."""

    serves_without = False

    def __init__(self, server: Neo4jServer) -> None:
        self._server = server
        self.url = server.url

    def kill(self) -> None:
        self._server.kill()

    def mend(self) -> None:
        self._server.start()

    def freeze(self) -> None:
        self._server.freeze()

    def thaw(self) -> None:
        self._server.thaw()


@dataclass
class Site:
    """Three services over one database."""

    database: Database
    services: list[PlacementProcess]

    def exports(self) -> list[bytes]:
        """What each service says is the whole graph."""
        found = []
        for service in self.services:
            answer = urllib3.request("GET", f"{service.url}/graph/export", retries=False, timeout=30)
            assert answer.status == 200, answer.data
            found.append(answer.data)
        return found


@pytest.fixture(params=["etcd", "neo4j"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        if request.param == "etcd":
            database: Database = Etcd(stack.enter_context(EtcdCluster(tmp_path)))
        else:
            database = Neo4j(request.getfixturevalue("neo4j"))
        services = [stack.enter_context(PlacementProcess(database.url, tmp_path / f"{name}.log")) for name in "abc"]
        yield Site(database, services)


def make_providers(client: PlacementClient, capacities: list[int]) -> dict[str, int]:
    providers = {}
    for number, capacity in enumerate(capacities):
        provider = client.ensure_resource_provider(str(uuid.uuid4()), f"host{number}")
        client.set_inventories(provider.uuid, {"VCPU": Inventory(capacity)}, provider.generation)
        providers[provider.uuid] = capacity
    return providers


@dataclass
class Ledger:
    """What was asked for, promised and refused, per provider, in the order in which clients knew of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: Counter[str] = field(default_factory=Counter)
    promised: dict[str, tuple[str, int]] = field(default_factory=dict)
    unknown: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused_too_early: list[str] = field(default_factory=list)

    def claim(self, client: PlacementClient, provider: str, capacity: int, amount: int) -> bool:
        """Claim once; False where there is no room any more."""
        consumer = str(uuid.uuid4())
        with self.lock:
            self.begun[provider] += amount
        try:
            client.claim(
                consumer, {provider: {"VCPU": amount}}, consumer_generation=None, project_id="project", user_id="user"
            )
        except NoCapacity as refusal:
            with self.lock:
                # Nothing is released: all that may have been taken was asked for before this refusal was heard.
                if self.begun[provider] <= capacity:
                    self.refused_too_early.append(f"{amount} of {capacity} at {provider}: {refusal}")
                self.begun[provider] -= amount
            return False
        except OutcomeUnknown:
            with self.lock:
                self.unknown[consumer] = provider, amount
        except Unavailable:
            with self.lock:
                self.begun[provider] -= amount
        else:
            with self.lock:
                self.promised[consumer] = provider, amount
        return True

    def check(self, client: PlacementClient, providers: dict[str, int]) -> None:
        """Hold what is there against what was promised."""
        assert self.refused_too_early == []
        for provider, capacity in providers.items():
            there = {
                consumer: resources["VCPU"]
                for consumer, resources in client.get_provider_allocations(provider).allocations.items()
            }
            sure = {consumer: amount for consumer, (at, amount) in self.promised.items() if at == provider}
            maybe = {consumer: amount for consumer, (at, amount) in self.unknown.items() if at == provider}
            assert sure.items() <= there.items() <= {**maybe, **sure}.items()
            assert sum(there.values()) <= capacity
            assert client.get_usages(provider).usages == {"VCPU": sum(there.values())}


def shown(reader: PlacementClient, provider: str) -> set[str] | None:
    """Return who has claimed from a provider; None where the store says that it is too busy: one asks again."""
    try:
        return set(reader.get_provider_allocations(provider).allocations)
    except Unavailable:
        return None


@pytest.mark.parametrize(("clients", "hosts"), [(8, 1), (64, 1), (64, 12)])
def test_claims_through_all_services_fill_everything_exactly(site: Site, clients: int, hosts: int) -> None:
    capacities = [random.Random(hosts).randint(40, 90) for _ in range(hosts)]
    providers = make_providers(site.services[0].client(), capacities)
    ledger = Ledger()

    def claim_until_full(number: int) -> None:
        dice = random.Random(number)
        client = PlacementClient([site.services[number % 3].url], timeout_s=30)
        reader = PlacementClient([site.services[(number + 1) % 3].url], timeout_s=30)
        open_ones = dict(providers)
        while open_ones:
            provider, capacity = dice.choice(list(open_ones.items()))
            before = len(ledger.promised)
            amount = dice.randint(1, 3)
            if not ledger.claim(client, provider, capacity, amount):
                if amount == 1:
                    del open_ones[provider]
            elif len(ledger.promised) > before and dice.random() < 0.2:
                # What one service has promised the next one shows.
                mine = [consumer for consumer, (at, _) in list(ledger.promised.items()) if at == provider]
                assert set(mine) <= eventually(lambda: shown(reader, provider), "an answer about allocations", 120)  # noqa: B023

    run_together(clients, claim_until_full)
    assert ledger.unknown == {}
    client = site.services[2].client()
    ledger.check(client, providers)
    for provider, capacity in providers.items():
        assert client.get_usages(provider).usages == {"VCPU": capacity}
    one, *others = site.exports()
    assert all(other == one for other in others)


@dataclass
class Battle:
    """Clients that claim and release through any service until it is over."""

    site: Site
    providers: dict[str, int]
    ledger: Ledger = field(default_factory=Ledger)
    released: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def any_client(self, dice: random.Random) -> PlacementClient:
        return dice.choice(self.site.services).client(timeout_s=15)

    def claim_and_release(self, number: int) -> None:
        dice = random.Random(number)
        while not self.over.is_set():
            client = self.any_client(dice)
            provider = dice.choice(list(self.providers))
            consumer = str(uuid.uuid4())
            what = {provider: {"VCPU": 1}}
            try:
                client.claim(consumer, what, consumer_generation=None, project_id="project", user_id="user")
            except NoCapacity:
                self.release_some(provider, dice)
            except OutcomeUnknown:
                with self.ledger.lock:
                    self.ledger.unknown[consumer] = provider, 1
            except Unavailable:
                pass
            else:
                with self.ledger.lock:
                    self.ledger.promised[consumer] = provider, 1
            client.close()

    def release_some(self, provider: str, dice: random.Random) -> None:
        with self.ledger.lock:
            mine = [each for each, (at, _) in self.ledger.promised.items() if at == provider]
            mine = [each for each in mine if each not in self.released]
            chosen = dice.sample(mine, min(len(mine), 5))
            self.released.update(chosen)
        for consumer in chosen:
            self.release(consumer, dice)

    def release(self, consumer: str, dice: random.Random) -> None:
        while True:
            client = self.any_client(dice)
            try:
                client.release(consumer)
            except (Unavailable, OutcomeUnknown):
                continue
            finally:
                client.close()
            return

    def watch_for_overselling(self) -> None:
        client = PlacementClient([service.url for service in self.site.services], timeout_s=15)
        while not self.over.is_set():
            for provider, capacity in self.providers.items():
                try:
                    used = client.get_usages(provider).usages["VCPU"]
                except Unavailable:
                    continue
                assert used <= capacity, f"{used} of {capacity} are claimed from {provider}"

    def more_claims(self, count: int, when: str) -> None:
        goal = len(self.ledger.promised) + count
        eventually(lambda: len(self.ledger.promised) >= goal, f"{count} claims {when}", TIMEOUT_S)

    def check(self) -> None:
        kept = {each: what for each, what in self.ledger.promised.items() if each not in self.released}
        for service in self.site.services:
            client = service.client(timeout_s=30)
            for provider, capacity in self.providers.items():
                there = set(client.get_provider_allocations(provider).allocations)
                sure = {consumer for consumer, (at, _) in kept.items() if at == provider}
                maybe = {consumer for consumer, (at, _) in self.ledger.unknown.items() if at == provider}
                assert sure <= there <= sure | maybe
                assert len(there) <= capacity
                assert client.get_usages(provider).usages == {"VCPU": len(there)}


def make_trouble(site: Site, battle: Battle) -> None:
    """Kill, one after another, a service, the database and another service; freeze the database; mend all."""
    battle.more_claims(40, "while all is well")
    site.services[0].kill()
    battle.more_claims(30, "without one service")
    site.database.kill()
    if site.database.serves_without:
        battle.more_claims(30, "after etcd's leader was killed")
    else:
        site.services[2].wait_for(503)
    site.services[0].start(healthy=site.database.serves_without)
    site.services[1].kill()
    site.database.mend()
    battle.more_claims(30, "after another service was killed")
    site.services[1].start()
    site.database.freeze()
    try:
        if site.database.serves_without:
            battle.more_claims(30, "while etcd's leader is frozen")
        else:
            site.services[2].wait_for(503)
    finally:
        site.database.thaw()
    battle.more_claims(30, "after all was mended")


def test_nothing_is_lost_or_sold_twice_while_services_and_members_die(site: Site) -> None:
    battle = Battle(site, make_providers(site.services[0].client(), [60] * 8))
    with ThreadPoolExecutor(17) as pool:
        futures = [pool.submit(battle.claim_and_release, number) for number in range(15)]
        futures.append(pool.submit(battle.watch_for_overselling))
        try:
            make_trouble(site, battle)
        finally:
            battle.over.set()
        for future in futures:
            future.result()
    for service in site.services:
        service.wait_for(200, TIMEOUT_S)
    battle.check()
    before = site.exports()
    assert before[0] == before[1] == before[2]
    assert site.services[2].terminate() == 0
    site.services[2].start()
    assert site.exports() == before


def run_together(count: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(work, number) for number in range(count)]:
            future.result()
