"""A change in one transaction: lock, look, decide, write.

Neo4j shows what is committed and no more: between the look at a provider and the write somebody else may claim from it.
So what an operation is known to touch is locked before it is looked at. What a decision turns out to depend on besides
(a tree's members, the providers that a consumer gives back to) is in `Change.expected`, as for etcd: it is locked then,
and looked at and decided again.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from etcdcompute.errors import EtcdComputeError
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import HEAD, Kind, Ref
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.loading import Loaded, load
from etcdcompute.placement.graph.neo4j.scope import Scope
from etcdcompute.placement.graph.neo4j.writing import HeadMissing, write

Decision = Callable[[Graph, Change], Any]

# To set a property takes the lock, also where it is that already; to remove one that is not there does not. It has to
# be a constant: what is read before the lock is had would be written after somebody else's change. In order, so that
# two who want the same wait for one another and not each for the other.
_LOCK_PROVIDERS: Final = """
UNWIND $ids AS id
MATCH (p:ResourceProvider {uuid: id})
SET p.locked = true
RETURN p.uuid AS uuid
"""
_LOCK_CONSUMERS: Final = """
UNWIND $ids AS id
MATCH (c:Consumer {uuid: id})
SET c.locked = true
RETURN c.uuid AS uuid
"""
_LOCK_HEAD: Final = "MATCH (h:PlacementHead {key: 'head'}) SET h.key = h.key RETURN h.revision AS revision"


def carry_out(
    work: Work, decisions: Sequence[Decision], scope: Scope, change: Change, *, locking: bool = True
) -> list[Any]:
    """Decide one after another and write what was decided; return what each came to, a value or a refusal.

    `change` is what is filled; with `locking` off, which is for tests, nothing keeps others away.
    """
    locked: set[Ref] = set()
    wanted: set[Ref] = set(scope.locks)
    while True:
        # What is not there yet, but may be by the time of the look, is not among these.
        locked |= _lock(work, wanted - locked) if locking else wanted
        loaded = load(work, scope)
        outcomes = _decide(loaded, decisions, change)
        wanted = {ref for ref, revision in change.expected.items() if _lockable(ref, revision)}
        if wanted <= locked:
            break
        change.clear()
    if not change.empty:
        write(work, loaded, change)
    return outcomes


def warm_up(work: Work) -> None:
    """Have the database plan the locking."""
    _lock(work, [Ref(Kind.GENERATION, ""), Ref(Kind.CONSUMER, "")])


def lock_head(work: Work) -> int:
    """Keep everybody from writing until the transaction ends; return the revision of the last change."""
    rows = work.rows(_LOCK_HEAD)
    if not rows:
        raise HeadMissing("the database has no placement head")
    return int(rows[0]["revision"])


def _lockable(ref: Ref, revision: int) -> bool:
    # Custom names are looked at again once the head is locked; names and what is new are guarded by constraints.
    return ref == HEAD or (revision > 0 and ref.kind in (Kind.GENERATION, Kind.CONSUMER))


def _lock(work: Work, refs: Collection[Ref]) -> set[Ref]:
    """Lock what there is of it, and return that."""
    locked: set[Ref] = set()
    for kind, statement in ((Kind.GENERATION, _LOCK_PROVIDERS), (Kind.CONSUMER, _LOCK_CONSUMERS)):
        ids = sorted(ref.id for ref in refs if ref.kind is kind)
        if ids:
            locked.update(Ref(kind, row["uuid"]) for row in work.rows(statement, ids=ids))
    if HEAD in refs:
        lock_head(work)
        locked.add(HEAD)
    return locked


def _decide(loaded: Loaded, decisions: Sequence[Decision], change: Change) -> list[Any]:
    """Fill the change with what the decisions come to, each seeing those before it; return results and refusals."""
    outcomes: list[Any] = []
    for decision in decisions:
        one = Change(id=change.id)
        try:
            outcomes.append(decision(loaded.graph, one))
        except EtcdComputeError as refusal:
            outcomes.append(refusal)
            continue
        change.join(one)
        # The next decision sees it, and what is written is compared with it.
        loaded.apply(one)
    return outcomes
