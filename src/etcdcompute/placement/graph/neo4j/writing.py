"""From a decided change to the database: the documents' differences as rows, and the statements that take them.

Writes come after `begin`, which holds the head's lock until the transaction ends: nobody else writes meanwhile, so that
what is added here (to what is used, to shared nodes such as users) is added to what stands. A change that only creates
takes nothing from what stands, and constraints refuse what is there already: it takes the head last, so that those who
load many trees write side by side.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import msgspec

from etcdcompute.errors import Unavailable
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import (
    IMPORT,
    TYPES,
    ConsumerDocument,
    GenerationDocument,
    Kind,
    NamedDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.neo4j.connection import Collision, Work
from etcdcompute.placement.graph.neo4j.loading import Loaded
from etcdcompute.placement.graph.records import Inventory

# How many changes are remembered for those who follow them, and how often older ones are dropped.
_KEPT_CHANGES: Final = 10_000
_DROPPED_EVERY: Final = 100
# What an inventory node has of an inventory.
_AMOUNTS: Final = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio", "capacity")

# The head is written before it is read, and so locked.
_BEGIN: Final = """
MATCH (h:PlacementHead {key: 'head'})
SET h.revision = h.revision + 1
WITH h
CREATE (:PlacementChange {revision: h.revision, id: $id, documents: $documents})
RETURN h.revision AS revision,
       [name IN $traits WHERE NOT EXISTS { (:Trait {name: name, custom: true}) }]
       + [name IN $classes WHERE NOT EXISTS { (:ResourceClass {name: name}) }] AS missing,
       EXISTS { (:PlacementImport) } AS importing
"""
_DROP_CHANGES: Final = "MATCH (c:PlacementChange) WHERE c.revision <= $revision DELETE c"


# What only adds: to what is new, and to what many share (traits, aggregates, a parent whose lock is held).
_CREATING: Final = frozenset({"new_traits", "new_classes", "new_providers", "parents", "traits", "aggregates"})


@dataclass(slots=True)
class _Rows:
    """What there is to do, by statement."""

    new_traits: list[dict[str, Any]] = field(default_factory=list)
    new_classes: list[dict[str, Any]] = field(default_factory=list)
    removed_traits: list[str] = field(default_factory=list)
    removed_classes: list[str] = field(default_factory=list)
    left_names: list[str] = field(default_factory=list)
    new_providers: list[list[Any]] = field(default_factory=list)
    changed_providers: list[dict[str, Any]] = field(default_factory=list)
    generations: list[dict[str, Any]] = field(default_factory=list)
    removed_providers: list[str] = field(default_factory=list)
    left_parents: list[str] = field(default_factory=list)
    parents: list[dict[str, str]] = field(default_factory=list)
    traits: list[tuple[str, str]] = field(default_factory=list)
    lost_traits: list[dict[str, Any]] = field(default_factory=list)
    aggregates: list[tuple[str, str]] = field(default_factory=list)
    lost_aggregates: list[dict[str, Any]] = field(default_factory=list)
    inventories: list[dict[str, Any]] = field(default_factory=list)
    lost_inventories: list[dict[str, str]] = field(default_factory=list)
    freed_consumers: list[str] = field(default_factory=list)
    left_owners: list[str] = field(default_factory=list)
    removed_consumers: list[str] = field(default_factory=list)
    new_consumers: list[dict[str, Any]] = field(default_factory=list)
    changed_consumers: list[dict[str, Any]] = field(default_factory=list)
    owners: list[dict[str, str]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    used: list[dict[str, Any]] = field(default_factory=list)
    roots: list[dict[str, str]] = field(default_factory=list)

    @property
    def only_new(self) -> bool:
        """Whether nothing that stands is changed."""
        return not any(getattr(self, name) for name in self.__slots__ if name not in _CREATING)


# In this order: a name is free before it is taken, a claim ends before its inventory goes, and comes after it has come.
_STATEMENTS: Final[tuple[tuple[Callable[[_Rows], list[Any]], LiteralString], ...]] = (
    (lambda rows: rows.new_traits, "UNWIND $rows AS row CREATE (t:Trait {custom: true}) SET t += row"),
    (lambda rows: rows.new_classes, "UNWIND $rows AS row CREATE (c:ResourceClass) SET c += row"),
    (
        lambda rows: rows.freed_consumers,
        "UNWIND $rows AS uuid MATCH (:Consumer {uuid: uuid})-[k:CONSUMES]->() DELETE k",
    ),
    (
        # Users and projects that own nothing any more go, too.
        lambda rows: rows.left_owners,
        """
        UNWIND $rows AS uuid
        MATCH (u:User)-[o:OWNS]->(:Consumer {uuid: uuid})
        DELETE o
        WITH DISTINCT u
        WHERE NOT EXISTS { (u)-[:OWNS]->() }
        MATCH (p:Project)-[o:OWNS]->(u)
        DELETE o, u
        WITH DISTINCT p
        WHERE NOT EXISTS { (p)-[:OWNS]->() }
        DELETE p
        """,
    ),
    (
        lambda rows: rows.lost_traits,
        """
        UNWIND $rows AS row
        MATCH (:ResourceProvider {uuid: row.uuid})-[k:HAS]->(t)
        WHERE t.name IN row.names
        DELETE k
        """,
    ),
    (
        # An aggregate is nothing but its members.
        lambda rows: rows.lost_aggregates,
        """
        UNWIND $rows AS row
        MATCH (:ResourceProvider {uuid: row.uuid})-[k:MEMBER_OF]->(a)
        WHERE a.uuid IN row.names
        DELETE k
        WITH DISTINCT a
        WHERE NOT EXISTS { (a)<-[:MEMBER_OF]-() }
        DELETE a
        """,
    ),
    (lambda rows: rows.removed_consumers, "UNWIND $rows AS uuid MATCH (c:Consumer {uuid: uuid}) DELETE c"),
    (
        lambda rows: rows.left_parents,
        "UNWIND $rows AS uuid MATCH ()-[k:CONTAINS]->(:ResourceProvider {uuid: uuid}) DELETE k",
    ),
    (
        # An inventory that is claimed from refuses to go: nothing is detached here.
        lambda rows: rows.removed_providers,
        """
        UNWIND $rows AS uuid
        MATCH (p:ResourceProvider {uuid: uuid})
        OPTIONAL MATCH (p)-[k:HAS|MEMBER_OF]->()
        DELETE k
        WITH DISTINCT p
        OPTIONAL MATCH (p)-[k:PROVIDES]->(i)
        DELETE k, i
        WITH DISTINCT p
        DELETE p
        """,
    ),
    (lambda rows: rows.left_names, "UNWIND $rows AS uuid MATCH (p:ResourceProvider {uuid: uuid}) REMOVE p.name"),
    (
        lambda rows: rows.new_providers,
        # By the thousand: properties that are named here are written faster than those of a map.
        """
        UNWIND $rows AS row
        CREATE (p:ResourceProvider {uuid: row[0], name: row[1], generation: row[2], created_at: row[3],
                                    updated_at: row[4], root_uuid: row[5]})
        WITH p, row[6] AS inventories
        UNWIND inventories AS i
        CREATE (p)-[:PROVIDES]->(:Inventory {resource_class: i[0], total: i[1], reserved: i[2], min_unit: i[3],
                                             max_unit: i[4], step_size: i[5], allocation_ratio: i[6], capacity: i[7],
                                             used: 0, free: i[7]})
        """,
    ),
    (
        lambda rows: rows.changed_providers,
        "UNWIND $rows AS row MATCH (p:ResourceProvider {uuid: row.uuid}) SET p += row",
    ),
    (
        lambda rows: rows.generations,
        "UNWIND $rows AS row MATCH (p:ResourceProvider {uuid: row.uuid}) SET p.generation = row.generation",
    ),
    (
        lambda rows: rows.parents,
        """
        UNWIND $rows AS row
        MATCH (p:ResourceProvider {uuid: row.uuid})
        MATCH (above:ResourceProvider {uuid: row.parent_uuid})
        CREATE (above)-[:CONTAINS]->(p)
        """,
    ),
    (
        # In the order of the shared nodes, here and below: two who create wait for one another, not each for the other.
        lambda rows: sorted(rows.traits),
        """
        UNWIND $rows AS row
        MATCH (p:ResourceProvider {uuid: row[1]})
        MERGE (t:Trait {name: row[0]})
        CREATE (p)-[:HAS]->(t)
        """,
    ),
    (
        lambda rows: sorted(rows.aggregates),
        """
        UNWIND $rows AS row
        MATCH (p:ResourceProvider {uuid: row[1]})
        MERGE (a:Aggregate {uuid: row[0]})
        CREATE (p)-[:MEMBER_OF]->(a)
        """,
    ),
    (
        lambda rows: rows.lost_inventories,
        """
        UNWIND $rows AS row
        MATCH (:ResourceProvider {uuid: row.uuid})-[k:PROVIDES]->(i:Inventory {resource_class: row.name})
        DELETE k, i
        """,
    ),
    (
        lambda rows: rows.inventories,
        """
        UNWIND $rows AS row
        MATCH (p:ResourceProvider {uuid: row.uuid})
        MERGE (p)-[:PROVIDES]->(i:Inventory {resource_class: row.name})
        ON CREATE SET i.used = 0
        SET i += row.properties, i.free = row.properties.capacity - i.used
        """,
    ),
    (lambda rows: rows.new_consumers, "UNWIND $rows AS row CREATE (c:Consumer) SET c = row"),
    (
        lambda rows: rows.changed_consumers,
        "UNWIND $rows AS row MATCH (c:Consumer {uuid: row.uuid}) SET c = row",
    ),
    (
        lambda rows: rows.owners,
        """
        UNWIND $rows AS row
        MATCH (c:Consumer {uuid: row.uuid})
        MERGE (p:Project {id: row.project_id})
        MERGE (u:User {project_id: row.project_id, id: row.user_id})
        MERGE (p)-[:OWNS]->(u)
        CREATE (u)-[:OWNS]->(c)
        """,
    ),
    (
        lambda rows: rows.claims,
        """
        UNWIND $rows AS row
        MATCH (c:Consumer {uuid: row.consumer})
        MATCH (:ResourceProvider {uuid: row.provider})-[:PROVIDES]->(i:Inventory {resource_class: row.name})
        CREATE (c)-[:CONSUMES {amount: row.amount, position: row.position}]->(i)
        """,
    ),
    (
        lambda rows: rows.used,
        """
        UNWIND $rows AS row
        MATCH (:ResourceProvider {uuid: row.provider})-[:PROVIDES]->(i:Inventory {resource_class: row.name})
        SET i.used = i.used + row.more
        SET i.free = i.capacity - i.used
        """,
    ),
    (
        lambda rows: rows.roots,
        "UNWIND $rows AS row MATCH (p:ResourceProvider {uuid: row.uuid}) SET p.root_uuid = row.root_uuid",
    ),
    # Who still has one of these keeps it from going.
    (lambda rows: rows.removed_traits, "UNWIND $rows AS name MATCH (t:Trait {name: name}) DELETE t"),
    (lambda rows: rows.removed_classes, "UNWIND $rows AS name MATCH (c:ResourceClass {name: name}) DELETE c"),
)


class HeadMissing(Collision):
    """There is no head: the database was emptied, or exchanged, since it was prepared."""


def write(work: Work, loaded: Loaded, change: Change) -> int:
    """Carry out a change that was decided on what was loaded, and applied to that graph; return its revision."""
    rows = _compare(loaded, change)
    if rows.only_new:
        _run(work, rows)
        revision = _begin(work, change)
    else:
        revision = _begin(work, change)
        _run(work, rows)
    if revision % _DROPPED_EVERY == 0:
        work.run(_DROP_CHANGES, revision=revision - _KEPT_CHANGES)
    return revision


def warm_up(work: Work) -> None:
    """Have the database plan all statements; the transaction is not to be committed."""
    work.run(_BEGIN, id="", documents="", traits=[""], classes=[""])
    for _, statement in _STATEMENTS:
        work.run(statement, rows=[])
    work.run(_DROP_CHANGES, revision=-1)


def read_documents(text: str) -> dict[Ref, Any]:
    """Return the documents of a change, None for what was removed; the reverse of what `write` keeps of it."""
    found: dict[Ref, Any] = {}
    for kind, name, raw in msgspec.json.decode(text, type=list[tuple[str, str, msgspec.Raw]]):
        ref = Ref(Kind(kind), name)
        found[ref] = None if bytes(raw) == b"null" else TYPES[ref.kind].from_json(bytes(raw))
    return found


def _run(work: Work, rows: _Rows) -> None:
    for pick, statement in _STATEMENTS:
        chosen = pick(rows)
        if chosen:
            work.run(statement, rows=chosen)


def _begin(work: Work, change: Change) -> int:
    """Take the head's lock and make sure that the custom names which the change needs are still there."""
    needed = {
        kind: [ref.id for ref, revision in change.expected.items() if ref.kind is kind and revision]
        for kind in (Kind.TRAIT, Kind.RESOURCE_CLASS)
    }
    documents = [
        (ref.kind, ref.id, document) for ref, document in (*change.puts.items(), *((r, None) for r in change.removals))
    ]
    rows = work.rows(
        _BEGIN,
        id=change.id,
        documents=msgspec.json.encode(documents).decode(),
        traits=needed[Kind.TRAIT],
        classes=needed[Kind.RESOURCE_CLASS],
    )
    if not rows:
        raise HeadMissing("the database has no placement head")
    if rows[0]["importing"] and IMPORT not in change.expected:
        # Which the next read finds out, and says what to do.
        raise Unavailable("an import of the graph has begun: nothing else may change until it is finished")
    if rows[0]["missing"]:
        raise Collision(f"gone meanwhile: {rows[0]['missing']}")
    return int(rows[0]["revision"])


def _compare(loaded: Loaded, change: Change) -> _Rows:
    """Return what has to be done to get from what stands to what is wanted."""
    rows = _Rows()
    used: dict[tuple[str, str], int] = {}
    for ref in change.removals:
        _remove(rows, loaded, ref, used)
    for ref, document in change.puts.items():
        match document:
            case ProviderDocument():
                before = loaded.providers.get(ref.id)
                if before is None:
                    _create_provider(rows, document, change, loaded.graph)
                else:
                    _change_provider(rows, before, document)
            case GenerationDocument() if ref.id in loaded.providers:
                rows.generations.append({"uuid": ref.id, "generation": document.generation})
            case ConsumerDocument():
                _put_consumer(rows, loaded.consumers.get(ref.id), document, used)
            case NamedDocument():
                created = rows.new_traits if ref.kind is Kind.TRAIT else rows.new_classes
                created.append({"name": ref.id, "created_at": document.created_at})
            case _:
                pass
    # Who moved has taken those below it along.
    for uuid, root_uuid in loaded.roots.items():
        node = loaded.graph.node(uuid)
        if node is not None and node.root.uuid != root_uuid:
            rows.roots.append({"uuid": uuid, "root_uuid": node.root.uuid})
    rows.used = [
        {"provider": provider, "name": name, "more": more} for (provider, name), more in sorted(used.items()) if more
    ]
    return rows


def _remove(rows: _Rows, loaded: Loaded, ref: Ref, used: dict[tuple[str, str], int]) -> None:
    if ref.kind is Kind.PROVIDER and ref.id in loaded.providers:
        rows.removed_providers.append(ref.id)
        rows.left_parents.append(ref.id)
        lost = loaded.providers[ref.id].aggregates
        if lost:
            rows.lost_aggregates.append({"uuid": ref.id, "names": list(lost)})
    elif ref.kind is Kind.CONSUMER and ref.id in loaded.consumers:
        rows.freed_consumers.append(ref.id)
        rows.left_owners.append(ref.id)
        rows.removed_consumers.append(ref.id)
        _count(used, loaded.consumers[ref.id], -1)
    elif ref.kind is Kind.TRAIT:
        rows.removed_traits.append(ref.id)
    elif ref.kind is Kind.RESOURCE_CLASS:
        rows.removed_classes.append(ref.id)


def _create_provider(rows: _Rows, document: ProviderDocument, change: Change, graph: Graph) -> None:
    uuid = document.uuid
    node = graph.node(uuid)
    counted = change.puts.get(Ref(Kind.GENERATION, uuid))
    rows.new_providers.append(
        [
            uuid,
            document.name,
            counted.generation if isinstance(counted, GenerationDocument) else 0,
            document.created_at,
            document.updated_at,
            node.root.uuid if node is not None else uuid,
            [[name, *_amounts(each)] for name, each in document.inventories.items()],
        ]
    )
    if document.parent_uuid is not None:
        rows.parents.append({"uuid": uuid, "parent_uuid": document.parent_uuid})
    rows.traits += [(name, uuid) for name in document.traits]
    rows.aggregates += [(name, uuid) for name in document.aggregates]


def _change_provider(rows: _Rows, before: ProviderDocument, after: ProviderDocument) -> None:
    uuid = after.uuid
    rows.changed_providers.append(
        {"uuid": uuid, "name": after.name, "created_at": after.created_at, "updated_at": after.updated_at}
    )
    if after.name != before.name:
        rows.left_names.append(uuid)
    if after.parent_uuid != before.parent_uuid:
        if before.parent_uuid is not None:
            rows.left_parents.append(uuid)
        if after.parent_uuid is not None:
            rows.parents.append({"uuid": uuid, "parent_uuid": after.parent_uuid})
    for name, inventory in after.inventories.items():
        if before.inventories.get(name) != inventory:
            rows.inventories.append({"uuid": uuid, "name": name, "properties": _properties(inventory)})
    rows.lost_inventories += [
        {"uuid": uuid, "name": name} for name in before.inventories if name not in after.inventories
    ]
    _compare_names(rows.traits, rows.lost_traits, uuid, before.traits, after.traits)
    _compare_names(rows.aggregates, rows.lost_aggregates, uuid, before.aggregates, after.aggregates)


def _compare_names(
    came: list[tuple[str, str]], went: list[dict[str, Any]], uuid: str, before: Iterable[str], after: Iterable[str]
) -> None:
    came += [(name, uuid) for name in set(after) - set(before)]
    lost = sorted(set(before) - set(after))
    if lost:
        went.append({"uuid": uuid, "names": lost})


def _put_consumer(
    rows: _Rows, before: ConsumerDocument | None, after: ConsumerDocument, used: dict[tuple[str, str], int]
) -> None:
    properties = {
        "uuid": after.uuid,
        "generation": after.generation,
        "consumer_type": after.consumer_type,
        "updated_at": after.updated_at,
    }
    owner = {"uuid": after.uuid, "project_id": after.project_id, "user_id": after.user_id}
    if before is None:
        rows.new_consumers.append(properties)
        rows.owners.append(owner)
    else:
        rows.changed_consumers.append(properties)
        rows.freed_consumers.append(after.uuid)
        if (before.project_id, before.user_id) != (after.project_id, after.user_id):
            rows.left_owners.append(after.uuid)
            rows.owners.append(owner)
        _count(used, before, -1)
    rows.claims += [
        {"consumer": after.uuid, "provider": provider, "name": name, "amount": amount, "position": position}
        for position, (provider, resources) in enumerate(after.allocations.items())
        for name, amount in resources.items()
    ]
    _count(used, after, 1)


def _count(used: dict[tuple[str, str], int], consumer: ConsumerDocument, sign: int) -> None:
    for provider, resources in consumer.allocations.items():
        for name, amount in resources.items():
            used[provider, name] = used.get((provider, name), 0) + sign * amount


def _properties(inventory: Inventory) -> Mapping[str, Any]:
    return dict(zip(_AMOUNTS, _amounts(inventory), strict=True))


def _amounts(inventory: Inventory) -> tuple[Any, ...]:
    return (
        inventory.total,
        inventory.reserved,
        inventory.min_unit,
        inventory.max_unit,
        inventory.step_size,
        # A whole number would come back as one.
        float(inventory.allocation_ratio),
        inventory.capacity,
    )
