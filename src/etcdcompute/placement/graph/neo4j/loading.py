"""From the database to the graph in memory: the part of it that an operation is about.

Decisions and questions are those of the embedded store (`graph/decide*.py`, `graph/queries.py`); they look at a graph
that holds the whole of what they are about and nothing else. What is used of an inventory is taken from the inventory,
so that a claim need not load everybody else's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

from neo4j import Record

from etcdcompute.model.document import Document
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import (
    ConsumerDocument,
    GenerationDocument,
    Kind,
    NamedDocument,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.scope import Scope
from etcdcompute.placement.graph.records import Inventory

# What is loaded stands at this revision, and what is decided in this transaction at later ones.
LOADED: Final = 1

# A provider as a row. Constant text, put together at import time.
_PROVIDER: Final[LiteralString] = """
RETURN m.uuid AS uuid, m.name AS name, m.generation AS generation,
       m.created_at AS created_at, m.updated_at AS updated_at,
       head([(above)-[:CONTAINS]->(m) | above.uuid]) AS parent_uuid,
       [(m)-[:PROVIDES]->(i) | [i.resource_class, i.total, i.reserved, i.min_unit, i.max_unit, i.step_size,
                                i.allocation_ratio, i.used]] AS inventories,
       [(m)-[:HAS]->(t) | t.name] AS traits,
       [(m)-[:MEMBER_OF]->(a) | a.uuid] AS aggregates
"""
TREES: Final[LiteralString] = (
    """
UNWIND $uuids AS uuid
MATCH (p:ResourceProvider {uuid: uuid})
WITH DISTINCT p.root_uuid AS root_uuid
MATCH (m:ResourceProvider {root_uuid: root_uuid})
"""
    + _PROVIDER
)
EVERYTHING: Final[LiteralString] = "MATCH (m:ResourceProvider)" + _PROVIDER
_NAMED: Final = "UNWIND $names AS name MATCH (p:ResourceProvider {name: name}) RETURN p.uuid AS uuid"
_CONSUMER: Final[LiteralString] = """
RETURN c.uuid AS uuid, c.generation AS generation, c.consumer_type AS consumer_type, c.updated_at AS updated_at,
       head([(c)<-[:OWNS]-(u) | [u.project_id, u.id]]) AS owner,
       [(c)-[k:CONSUMES]->(i)<-[:PROVIDES]-(p) |
        [coalesce(k.position, 0), p.uuid, i.resource_class, k.amount]] AS allocations
"""
CONSUMERS: Final[LiteralString] = "UNWIND $uuids AS uuid MATCH (c:Consumer {uuid: uuid})" + _CONSUMER
ALL_CONSUMERS: Final[LiteralString] = "MATCH (c:Consumer)" + _CONSUMER
_CLAIMING: Final[LiteralString] = (
    """
UNWIND $uuids AS uuid
MATCH (:ResourceProvider {uuid: uuid})-[:PROVIDES]->()<-[:CONSUMES]-(c:Consumer)
WITH DISTINCT c
"""
    + _CONSUMER
)
_TRAITS: Final = (
    "UNWIND $names AS name MATCH (t:Trait {name: name, custom: true}) RETURN t.name AS name, t.created_at AS created_at"
)
_CLASSES: Final = (
    "UNWIND $names AS name MATCH (c:ResourceClass {name: name}) RETURN c.name AS name, c.created_at AS created_at"
)
_WITH_TRAITS: Final = "UNWIND $names AS name MATCH (:Trait {name: name})<-[:HAS]-(p) RETURN DISTINCT p.uuid AS uuid"
_WITH_CLASSES: Final = """
UNWIND $names AS name
MATCH (i:Inventory {resource_class: name})<-[:PROVIDES]-(p)
RETURN DISTINCT p.uuid AS uuid
"""


@dataclass(slots=True)
class Loaded:
    """A part of the graph, and the documents as they stand in the database."""

    graph: Graph
    providers: dict[str, ProviderDocument] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    consumers: dict[str, ConsumerDocument] = field(default_factory=dict)
    _revision: int = LOADED

    def apply(self, change: Change) -> None:
        """Have the graph show what was decided; the documents stay those of the database."""
        self._revision += 1
        self.graph.apply(Applied(self._revision, {**change.puts, **dict.fromkeys(change.removals)}))


def load(work: Work, scope: Scope) -> Loaded:
    """Return the part of the graph that a scope names."""
    uuids = set(scope.providers)
    consumers = read_consumers(work.rows(CONSUMERS, uuids=list(scope.consumers))) if scope.consumers else {}
    for document in consumers.values():
        uuids.update(document.allocations)
    if scope.names:
        uuids.update(row["uuid"] for row in work.rows(_NAMED, names=list(scope.names)))
    if scope.users_of_traits:
        uuids.update(row["uuid"] for row in work.rows(_WITH_TRAITS, names=list(scope.users_of_traits)))
    if scope.users_of_classes:
        uuids.update(row["uuid"] for row in work.rows(_WITH_CLASSES, names=list(scope.users_of_classes)))
    rows = work.rows(TREES, uuids=sorted(uuids)) if uuids else []
    if scope.claimed and rows:
        # All of the trees: what is declared or removed is a tree.
        found = work.rows(_CLAIMING, uuids=[row["uuid"] for row in rows])
        consumers = {**read_consumers(found), **consumers}
    names: dict[Ref, float] = {}
    if scope.traits:
        names.update(_read_names(Kind.TRAIT, work.rows(_TRAITS, names=list(scope.traits))))
    if scope.classes:
        names.update(_read_names(Kind.RESOURCE_CLASS, work.rows(_CLASSES, names=list(scope.classes))))
    return build(rows, consumers, names)


def warm_up(work: Work) -> None:
    """Have the database plan what is asked of it here: the first time takes it long."""
    for statement in (TREES, CONSUMERS, _CLAIMING):
        work.run(statement, uuids=[""])
    for statement in (_NAMED, _WITH_TRAITS, _WITH_CLASSES, _TRAITS, _CLASSES):
        work.run(statement, names=[""])


def build(rows: Iterable[Record], consumers: Mapping[str, ConsumerDocument], names: Mapping[Ref, float]) -> Loaded:
    """Return the graph of providers' rows, of consumers, and of custom names with the times of their creation."""
    loaded = Loaded(Graph(), consumers=dict(consumers))
    listed: list[tuple[Ref, Document, int]] = []
    used: dict[str, dict[str, int]] = {}
    inventories: dict[tuple[Any, ...], Inventory] = {}
    for row in rows:
        document, sums = _read_provider(row, inventories)
        loaded.providers[document.uuid] = document
        used[document.uuid] = sums
        listed.append((Ref(Kind.PROVIDER, document.uuid), document, LOADED))
        listed.append((Ref(Kind.GENERATION, document.uuid), GenerationDocument(generation=row["generation"]), LOADED))
        listed.append((Ref(Kind.NAME, document.name), NameDocument(uuid=document.uuid), LOADED))
    listed += [(Ref(Kind.CONSUMER, uuid), document, LOADED) for uuid, document in consumers.items()]
    listed += [(ref, NamedDocument(created_at=at), LOADED) for ref, at in names.items()]
    loaded.graph.load(listed)
    for uuid, sums in used.items():
        loaded.graph.set_used(uuid, sums)
    loaded.roots = {node.uuid: node.root.uuid for node in loaded.graph.all_nodes()}
    return loaded


def read_consumers(rows: Iterable[Record]) -> dict[str, ConsumerDocument]:
    """Return consumers' rows as documents, by uuid."""
    found: dict[str, ConsumerDocument] = {}
    for uuid, generation, consumer_type, updated_at, owner, held in rows:
        allocations: dict[str, dict[str, int]] = {}
        for _, provider, name, amount in sorted(held):
            allocations.setdefault(provider, {})[name] = amount
        found[uuid] = ConsumerDocument(
            uuid=uuid,
            generation=generation,
            project_id=owner[0],
            user_id=owner[1],
            consumer_type=consumer_type,
            allocations=allocations,
            updated_at=updated_at,
        )
    return found


def _read_provider(row: Record, known: dict[tuple[Any, ...], Inventory]) -> tuple[ProviderDocument, dict[str, int]]:
    """Return a provider, and what is used of it; like inventories, of which `known` keeps one, are one object."""
    uuid, name, _, created_at, updated_at, parent_uuid, held, traits, aggregates = row
    inventories: dict[str, Inventory] = {}
    used: dict[str, int] = {}
    for resource_class, *values, amount in sorted(held):
        key = tuple(values)
        found = known.get(key)
        if found is None:
            found = known[key] = Inventory(*key)
        inventories[resource_class] = found
        if amount:
            used[resource_class] = amount
    document = ProviderDocument(
        uuid=uuid,
        name=name,
        parent_uuid=parent_uuid,
        inventories=inventories,
        traits=tuple(sorted(traits)),
        aggregates=tuple(sorted(aggregates)),
        created_at=created_at,
        updated_at=updated_at,
    )
    return document, used


def _read_names(kind: Kind, rows: Iterable[Record]) -> dict[Ref, float]:
    return {Ref(kind, row["name"]): row["created_at"] for row in rows}
