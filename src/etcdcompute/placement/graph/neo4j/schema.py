"""The schema in Neo4j: its versions, and how a database gets to the one that this program knows.

    (:ResourceProvider {uuid, name, generation, created_at, updated_at, root_uuid})
        -[:CONTAINS]->(:ResourceProvider)
        -[:PROVIDES]->(:Inventory {resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio,
                                   capacity, used, free})
        -[:HAS]->(:Trait {name, custom, created_at})
        -[:MEMBER_OF]->(:Aggregate {uuid})
    (:Project {id})-[:OWNS]->(:User {id, project_id})-[:OWNS]->(:Consumer {uuid, generation, consumer_type, updated_at})
        -[:CONSUMES {amount, position}]->(:Inventory)
    (:ResourceClass {name, created_at})                   custom ones
    (:PlacementHead {key, schema_version, revision})      one: the graph's clock, and the lock of those who write
    (:PlacementChange {revision, id, documents})          the last changes, for those who follow them

The root's uuid is kept with each provider, so that it is one step by an index from any provider to its whole tree.
`position` is a provider's place among those that a consumer claims from, from 0, in the order in which they were named;
what was claimed before there was such a thing has none.
`locked` on providers and consumers means nothing: to set it takes their lock.
What an inventory has `used`, and so `free`, is the sum of what is consumed of it, kept with each change so that an
index on it can find room. A migration has statements on the schema, which Neo4j wants in transactions of their own and
which do no harm when repeated, and one on the data, which is carried out together with the step of the version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.placement.graph.neo4j.connection import Connection, Work

# What the statements of this package need: subqueries with CALL (variables).
_LEAST_VERSION: Final = (5, 23)


@dataclass(frozen=True, slots=True)
class Migration:
    """A step to the next version; `data` may be empty."""

    schema: tuple[LiteralString, ...]
    data: LiteralString = ""


# The n-th leads from version n to n + 1. What is here is never changed, only added to.
MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        (
            "CREATE CONSTRAINT placement_head IF NOT EXISTS FOR (h:PlacementHead) REQUIRE h.key IS UNIQUE",
            "CREATE CONSTRAINT provider_uuid IF NOT EXISTS FOR (p:ResourceProvider) REQUIRE p.uuid IS UNIQUE",
            "CREATE CONSTRAINT provider_name IF NOT EXISTS FOR (p:ResourceProvider) REQUIRE p.name IS UNIQUE",
            "CREATE CONSTRAINT consumer_uuid IF NOT EXISTS FOR (c:Consumer) REQUIRE c.uuid IS UNIQUE",
            "CREATE CONSTRAINT project_id IF NOT EXISTS FOR (p:Project) REQUIRE p.id IS UNIQUE",
            "CREATE CONSTRAINT user_id IF NOT EXISTS FOR (u:User) REQUIRE (u.project_id, u.id) IS UNIQUE",
            "CREATE CONSTRAINT aggregate_uuid IF NOT EXISTS FOR (a:Aggregate) REQUIRE a.uuid IS UNIQUE",
            "CREATE CONSTRAINT trait_name IF NOT EXISTS FOR (t:Trait) REQUIRE t.name IS UNIQUE",
            "CREATE CONSTRAINT class_name IF NOT EXISTS FOR (c:ResourceClass) REQUIRE c.name IS UNIQUE",
            "CREATE CONSTRAINT change_revision IF NOT EXISTS FOR (c:PlacementChange) REQUIRE c.revision IS UNIQUE",
            "CREATE CONSTRAINT change_id IF NOT EXISTS FOR (c:PlacementChange) REQUIRE c.id IS UNIQUE",
            "CREATE INDEX provider_root IF NOT EXISTS FOR (p:ResourceProvider) ON (p.root_uuid)",
            "CREATE INDEX inventory_free IF NOT EXISTS FOR (i:Inventory) ON (i.resource_class, i.free)",
            "CALL db.awaitIndexes(60)",
        ),
    ),
)

_COMPONENTS: Final = (
    "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0] AS version"
)
_LOOK: Final = "MATCH (h:PlacementHead {key: 'head'}) RETURN h.schema_version AS version"
_BEGIN: Final = "MERGE (h:PlacementHead {key: 'head'}) ON CREATE SET h.schema_version = 0, h.revision = 0"
_LOCK: Final = "MATCH (h:PlacementHead {key: 'head'}) SET h.key = h.key WITH h RETURN h.schema_version AS version"
_STEP: Final = "MATCH (h:PlacementHead {key: 'head'}) SET h.schema_version = $version"


def prepare(connection: Connection, deadline: Deadline, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the version of this program; Unavailable where it or the server is none we know."""
    version = connection.read(_look, deadline)
    if version > len(migrations):
        raise Unavailable(
            f"the graph in Neo4j at {connection.address.host_port} has schema version {version}, this program knows "
            f"{len(migrations)}: upgrade etcd-compute on this controller"
        )
    for number in range(version, len(migrations)):
        for statement in migrations[number].schema:
            connection.run_alone(statement)
        connection.write(lambda work, number=number: _step(work, migrations[number], number), deadline)  # type: ignore[misc]


def _look(work: Work) -> int:
    """Return the schema's version, 0 where there is none, once the server's own is good enough."""
    found = str(work.rows(_COMPONENTS)[0]["version"])
    major, _, rest = found.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit()) or (int(major), int(minor)) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise Unavailable(f"the Neo4j server is of version {found}; placement needs {least} or later")
    rows = work.rows(_LOOK)
    return int(rows[0]["version"]) if rows else 0


def _step(work: Work, migration: Migration, number: int) -> None:
    """Change the data and the version in one, unless another process was faster."""
    work.run(_BEGIN)
    if work.rows(_LOCK)[0]["version"] != number:
        return
    if migration.data:
        work.run(migration.data)
    work.run(_STEP, version=number + 1)
