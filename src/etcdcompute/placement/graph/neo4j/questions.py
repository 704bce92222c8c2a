"""Questions that the database answers by itself: sums over consumers, names, and what is used by somebody."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.deciding import lock_head
from etcdcompute.placement.graph.neo4j.loading import ALL_CONSUMERS, EVERYTHING, build, read_consumers
from etcdcompute.placement.graph.records import ConsumerUsage, ProviderFilter

_USAGES: Final = """
MATCH (:Project {id: $project_id})-[:OWNS]->(u:User)-[:OWNS]->(c:Consumer)
WHERE $user_id IS NULL OR u.id = $user_id
WITH c, CASE WHEN $consumer_type = 'all' THEN 'all' ELSE coalesce(c.consumer_type, 'unknown') END AS kind
WHERE $consumer_type IS NULL OR kind = $consumer_type
WITH kind, collect(c) AS consumers
CALL (consumers) {
  UNWIND consumers AS c
  MATCH (c)-[k:CONSUMES]->(i:Inventory)
  WITH i.resource_class AS name, sum(k.amount) AS amount
  RETURN collect([name, amount]) AS sums
}
RETURN kind, size(consumers) AS count, sums
ORDER BY kind
"""
_TRAITS: Final = "MATCH (t:Trait {custom: true}) RETURN t.name AS name, t.created_at AS created_at"
_TRAITS_IN_USE: Final = "MATCH (t:Trait) WHERE EXISTS { (t)<-[:HAS]-() } RETURN t.name AS name"
_CLASSES: Final = "MATCH (c:ResourceClass) RETURN c.name AS name, c.created_at AS created_at"
_HEAD: Final = "MATCH (h:PlacementHead {key: 'head'}) RETURN h.revision AS revision"
# Each part of the filter that is not given lets everything through.
_MATCHING: Final = """
MATCH (p:ResourceProvider)
WHERE all(part IN $resources WHERE EXISTS {
        (p)-[:PROVIDES]->(i:Inventory) WHERE i.resource_class = part.name AND i.free >= part.amount
      })
  AND all(names IN $traits WHERE EXISTS { (p)-[:HAS]->(t) WHERE t.name IN names })
  AND all(uuids IN $aggregates WHERE EXISTS { (p)-[:MEMBER_OF]->(a) WHERE a.uuid IN uuids })
RETURN p.uuid AS uuid
"""
_BY_NAME: Final = "MATCH (p:ResourceProvider {name: $name}) RETURN p.uuid AS uuid"


class Traits(NamedTuple):
    """Custom traits with the times of their creation, and the names of those that providers have."""

    custom: Mapping[str, float]
    in_use: frozenset[str]


def warm_up(work: Work) -> None:
    """Have the database plan the questions."""
    list_usages(work, "", None, None)
    fetch_traits(work)
    fetch_classes(work)
    work.run(_BY_NAME, name="")
    work.run(_MATCHING, resources=[{"name": "", "amount": 1}], traits=[[""]], aggregates=[[""]])


def list_usages(work: Work, project_id: str, user_id: str | None, consumer_type: str | None) -> list[ConsumerUsage]:
    """Return a project's use, one entry per consumer type, or one in all for the type "all"."""
    rows = work.rows(_USAGES, project_id=project_id, user_id=user_id, consumer_type=consumer_type)
    return [ConsumerUsage(row["kind"], row["count"], dict(sorted(row["sums"]))) for row in rows]


def fetch_traits(work: Work) -> Traits:
    """Return what there is beside the standard traits, and what is in use."""
    custom = {row["name"]: row["created_at"] for row in work.rows(_TRAITS)}
    return Traits(custom, frozenset(row["name"] for row in work.rows(_TRAITS_IN_USE)))


def fetch_classes(work: Work) -> dict[str, float]:
    """Return the custom resource classes with the times of their creation."""
    return {row["name"]: row["created_at"] for row in work.rows(_CLASSES)}


def find_matching(work: Work, wanted: ProviderFilter) -> list[str]:
    """Return the uuids of the providers that may match; whether they do is looked at again."""
    tree = [] if wanted.in_tree is None else [wanted.in_tree]
    if wanted.uuid is not None:
        return [wanted.uuid, *tree]
    if wanted.name is not None:
        return [*(row["uuid"] for row in work.rows(_BY_NAME, name=wanted.name)), *tree]
    if tree:
        return tree
    rows = work.rows(
        _MATCHING,
        resources=[{"name": name, "amount": amount} for name, amount in (wanted.resources or {}).items()],
        traits=[sorted(names) for names in wanted.required_traits],
        aggregates=[sorted(uuids) for uuids in wanted.member_of],
    )
    return [row["uuid"] for row in rows]


def fetch_head(work: Work) -> int:
    """Return the revision of the last change, -1 where there is no head."""
    rows = work.rows(_HEAD)
    return int(rows[0]["revision"]) if rows else -1


def take_snapshot(work: Work) -> Snapshot:
    """Return the whole graph; nobody writes until the transaction ends."""
    return read_snapshot(work, lock_head(work))


def read_snapshot(work: Work, revision: int) -> Snapshot:
    """Return the whole graph, which the caller keeps at that revision."""
    consumers = read_consumers(work.rows(ALL_CONSUMERS))
    traits, classes = fetch_traits(work).custom, fetch_classes(work)
    rows = work.rows(EVERYTHING)
    loaded = build(rows, {}, {})
    return Snapshot(
        revision,
        [(node.document, node.generation) for node in loaded.graph.providers.values()],
        list(consumers.values()),
        traits,
        classes,
    )
