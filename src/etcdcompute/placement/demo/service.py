"""The service's part: a topology loaded through the store, asked about, and removed again."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from etcdcompute.errors import AlreadyExists, EtcdComputeError, Unavailable
from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.demo import providers
from etcdcompute.placement.demo.examples import EXAMPLES, Record
from etcdcompute.placement.demo.topologies import USUAL_SIZE, Holder, Resource, Topology, uuid_of
from etcdcompute.placement.graph.errors import ConsumerNotFound, ResourceClassInUse, ResourceClassNotFound
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.records import ProviderFilter, Resources
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.graph.trees import Tree

Say = Callable[[str], None]

# As many as share a few transactions of etcd, and so end long before the store's time limit.
_REMOVERS: Final = 8
_SILENCE_S: Final = 2.0
_READY_MOST_S: Final = 60.0
_POLL_S: Final = 0.2


class Progress:
    """Says how far a long work has got, every two seconds."""

    def __init__(self, say: Say, what: str, total: int) -> None:
        self._say = say
        self._what = what
        self._total = total
        self._done = 0
        self._next = time.monotonic() + _SILENCE_S

    def add(self, count: int) -> None:
        """Take in that so many more are done."""
        self._done += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SILENCE_S
            self._say(f"{self._what}: {self._done:,} of {self._total:,}")


def await_ready(store: GraphStore, say: Say) -> None:
    """Wait for a store that answers and is being made ready; Unavailable where it does not answer."""
    until = time.monotonic() + _READY_MOST_S
    say_at = time.monotonic() + _SILENCE_S
    while (health := store.check_health())["graph"] != "ok":
        if health["store"] != "ok":
            raise Unavailable(health["store"])
        if time.monotonic() > until:
            raise Unavailable(health["graph"])
        if time.monotonic() > say_at:
            say(f"waiting: {health['graph']}")
            say_at += _SILENCE_S
        time.sleep(_POLL_S)


def load(store: GraphStore, topology: Topology, say: Say) -> None:
    """Declare the trees, and have the consumers claim."""
    wanted = list(providers.trees(topology))
    progress = Progress(say, "trees loaded", len(wanted))
    for batch in _batches(wanted, store.trees_at_once):
        for outcome in store.declare_trees(batch):
            if isinstance(outcome, EtcdComputeError):
                raise outcome
        progress.add(len(batch))
    for claim in providers.claims(topology):
        store.claim([claim])


def clear(store: GraphStore, name: str, say: Say) -> None:
    """Remove what an earlier demo has left; AlreadyExists where there is anything else."""
    snapshot = store.take_snapshot()
    others = [document.name for document, _ in snapshot.providers if document.uuid != uuid_of(document.name)]
    if others:
        raise AlreadyExists(
            f"{name} holds {len(snapshot.providers):,} resource providers already, among them {min(others)!r}, which "
            "would be counted with the demo's. Give it a store of its own: --graph memory:// needs nothing."
        )
    if snapshot.providers:
        say(f"{name} holds what an earlier demo has left: removing it")
        remove(store, snapshot, say)


def remove(store: GraphStore, snapshot: Snapshot, say: Say) -> None:
    """Remove what a demo has made: consumers, trees, resource classes."""
    known = {claim.consumer_uuid for each in EXAMPLES.values() for claim in providers.claims(each.make(USUAL_SIZE))}
    for consumer in snapshot.consumers:
        if consumer.uuid in known:
            try:
                store.release(consumer.uuid)
            except ConsumerNotFound:
                continue
    roots = [document.uuid for document, _ in snapshot.providers if document.parent_uuid is None]
    progress = Progress(say, "trees removed", len(roots))
    with ThreadPoolExecutor(_REMOVERS) as pool:
        for _ in pool.map(store.delete_tree, roots):
            progress.add(1)
    classes = {name for each in EXAMPLES.values() for name in providers.custom_classes(each.make(1))}
    for name in sorted(classes.intersection(snapshot.resource_classes)):
        try:
            store.delete_resource_class(name)
        except (ResourceClassNotFound, ResourceClassInUse):
            continue


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service has found, in the posts' form, and how long it took."""

    records: Sequence[Record]
    took_s: float


class Asking:
    """Asks for candidates, and translates them into the posts' records."""

    def __init__(self, store: GraphStore, topology: Topology) -> None:
        self._store = store
        self._resources: dict[tuple[str, str], Resource] = {}
        self._roots: dict[str, Holder] = {}
        for root in topology.holders:
            for holder in root.below():
                uuid = uuid_of(holder.name)
                self._roots[uuid] = root
                for each in holder.resources:
                    self._resources[uuid, providers.class_of(each)] = each

    def search(self, request: CandidateRequest, *, with_ram: bool) -> Answer:
        """Return all candidates; the compute node is where the memory comes from."""
        began = time.monotonic()
        found = self._store.find_candidates(request)
        took_s = time.monotonic() - began
        records = []
        for each in found.requests:
            places = {name: uuid for uuid, resources in each.allocations.items() for name in resources}
            disk = self._resources[places["DISK_GB"], "DISK_GB"]
            ram = self._resources[places["MEMORY_MB"], "MEMORY_MB"] if with_ram else None
            records.append(Record(self._roots[places["MEMORY_MB"]], disk, ram))
        return Answer(sorted(records, key=lambda record: record.names), took_s)


def used_by(store: GraphStore, consumer_uuid: str) -> Resources:
    """Return what a consumer has claimed, by resource class."""
    consumer, _ = store.get_consumer(consumer_uuid)
    sums: dict[str, int] = {}
    for resources in consumer.allocations.values() if consumer else ():
        for name, amount in resources.items():
            sums[name] = sums.get(name, 0) + amount
    return sums


def used_in_project(store: GraphStore, project_id: str, user_id: str | None = None) -> Resources:
    """Return what a project, or one user of it, has claimed in all."""
    return total(usage.resources for usage in store.list_usages(project_id, user_id, "all"))


def with_left(store: GraphStore, resource_class: str, more_than: int) -> dict[str, int]:
    """Return the providers with more than so much left of a class, by name."""
    found = store.list_providers(ProviderFilter(resources={resource_class: more_than + 1}))
    return {each.name: each.inventories[resource_class].capacity - each.used.get(resource_class, 0) for each in found}


def _batches(trees: Sequence[Tree], size: int) -> Iterator[Sequence[Tree]]:
    for begin in range(0, len(trees), size):
        yield trees[begin : begin + size]


def total(usages: Iterable[Resources]) -> dict[str, int]:
    """Return the sums over several usages."""
    sums: dict[str, int] = {}
    for resources in usages:
        for name, amount in resources.items():
            sums[name] = sums.get(name, 0) + amount
    return sums
