"""Deployments described in a few words, as graphs in memory and as calls to a store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, overload

from etcdcompute.model.document import Document
from etcdcompute.placement.graph.documents import (
    ConsumerDocument,
    GenerationDocument,
    Kind,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Inventory

SHARES = "MISC_SHARES_VIA_AGGREGATE"


@dataclass(frozen=True)
class Host:
    """One provider: its parent's name, inventories, what is used of them, traits, aggregates."""

    name: str
    parent: str | None = None
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()


G = TypeVar("G", bound=Graph)


@overload
def graph_of(*hosts: Host) -> Graph: ...
@overload
def graph_of(*hosts: Host, into: G) -> G: ...
def graph_of(*hosts: Host, into: Graph | None = None) -> Graph:
    """Return a graph whose providers' uuids are their names."""
    graph = into or Graph()
    documents: list[tuple[Ref, Document, int]] = []
    for host in hosts:
        provider = ProviderDocument(
            uuid=host.name,
            name=host.name,
            parent_uuid=host.parent,
            inventories=dict(host.inventories),
            traits=tuple(sorted(host.traits)),
            aggregates=tuple(sorted(host.aggregates)),
        )
        documents.append((Ref(Kind.PROVIDER, host.name), provider, 1))
        documents.append((Ref(Kind.GENERATION, host.name), GenerationDocument(generation=1), 1))
        documents.append((Ref(Kind.NAME, host.name), NameDocument(uuid=host.name), 1))
        if host.used:
            consumer = ConsumerDocument(
                uuid=f"of-{host.name}",
                generation=1,
                project_id="project",
                user_id="user",
                allocations={host.name: dict(host.used)},
            )
            documents.append((Ref(Kind.CONSUMER, f"of-{host.name}"), consumer, 1))
    graph.load(documents)
    return graph
