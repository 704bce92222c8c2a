"""Whether a graph is one: what the stores rely on, and what one of them would lose without a word."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from etcdcompute.placement.graph.documents import ConsumerDocument, ProviderDocument
from etcdcompute.placement.graph.errors import BrokenGraph
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.standard import RESOURCE_CLASSES, TRAITS
from etcdcompute.placement.graph.transfer.archive import parents_first

_MOST_TOLD: Final = 5


def check_whole(snapshot: Snapshot, where: str) -> None:
    """Raise BrokenGraph, naming what is wrong, where not everything fits together."""
    problems = list(_problems(snapshot))
    if problems:
        more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
        raise BrokenGraph(f"{where}: {'; '.join(problems[:_MOST_TOLD])}{more}")


def _problems(snapshot: Snapshot) -> Iterator[str]:
    providers = [document for document, _ in snapshot.providers]
    yield from _twice("providers have the uuid", (each.uuid for each in providers))
    yield from _twice("providers have the name", (each.name for each in providers))
    yield from _twice("consumers have the uuid", (each.uuid for each in snapshot.consumers))
    known = {each.uuid: each for each in providers}
    yield from _trees(snapshot, known)
    traits, classes = TRAITS | snapshot.traits.keys(), {*RESOURCE_CLASSES, *snapshot.resource_classes}
    for each in providers:
        for name in sorted(set(each.traits) - traits):
            yield f"provider {each.uuid} has the trait {name}, which is neither standard here nor a custom trait"
        for name in sorted(each.inventories.keys() - classes):
            yield f"provider {each.uuid} has inventory of {name}, which is neither standard here nor a custom class"
    for consumer in snapshot.consumers:
        yield from _claims(consumer, known)


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, number in sorted(Counter(names).items()):
        if number > 1:
            yield f"{number} {what} {name!r}"


def _trees(snapshot: Snapshot, known: dict[str, ProviderDocument]) -> Iterator[str]:
    placed: set[str] = set()
    for document, _ in parents_first(snapshot.providers):
        parent = document.parent_uuid
        if parent is not None and parent not in known:
            yield f"provider {document.uuid} is below {parent}, which is not there"
        elif parent is not None and parent not in placed:
            yield f"provider {document.uuid} is, by way of others, below itself"
        placed.add(document.uuid)


def _claims(consumer: ConsumerDocument, known: dict[str, ProviderDocument]) -> Iterator[str]:
    # What can be done about it, since nothing else shows such a consumer.
    way_out = f"release it first (DELETE /allocations/{consumer.uuid})"
    for uuid, resources in consumer.allocations.items():
        provider = known.get(uuid)
        if provider is None:
            yield f"consumer {consumer.uuid} claims from provider {uuid}, which is not there: {way_out}"
            continue
        for name in sorted(resources.keys() - provider.inventories.keys()):
            yield f"consumer {consumer.uuid} claims {name} from provider {uuid}, which has no such inventory: {way_out}"
