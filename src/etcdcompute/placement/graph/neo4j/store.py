"""The graph in Neo4j: a GraphStore without a copy of its own.

Reads and searches ask the database, which shows what is committed. Changes are decided in the transaction that makes
them (`deciding.py`). What a decision, a question or a search then looks at is a part of the graph in memory, so that
the code which says what fits, and who is refused why, is the same as in the embedded store.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Final, TypeVar

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, OutcomeUnknown, Unavailable
from etcdcompute.placement.candidates.request import CandidateRequest, Candidates
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph import decide, decide_claims, decide_names, decide_reshape, decide_trees, queries
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import ImportDocument
from etcdcompute.placement.graph.export import Snapshot
from etcdcompute.placement.graph.feed import Feed
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.neo4j import deciding, importing, loading, questions, scope, searching, writing
from etcdcompute.placement.graph.neo4j.address import Address
from etcdcompute.placement.graph.neo4j.asking import Asker
from etcdcompute.placement.graph.neo4j.connection import CommitLost, Connection, Work
from etcdcompute.placement.graph.neo4j.deciding import Decision, carry_out, lock_head
from etcdcompute.placement.graph.neo4j.following import Follower
from etcdcompute.placement.graph.neo4j.loading import load
from etcdcompute.placement.graph.neo4j.schema import prepare
from etcdcompute.placement.graph.neo4j.scope import Scope
from etcdcompute.placement.graph.neo4j.searching import Leads, StoredTopology
from etcdcompute.placement.graph.neo4j.writing import HeadMissing
from etcdcompute.placement.graph.questions import QueryResult
from etcdcompute.placement.graph.records import (
    Claim,
    Consumer,
    ConsumerUsage,
    Inventory,
    Named,
    NewInventories,
    Provider,
    ProviderFilter,
)
from etcdcompute.placement.graph.restoring import Holdings, refuse
from etcdcompute.placement.graph.still import StillGraph
from etcdcompute.placement.graph.trees import Tree, TreeOutcome
from etcdcompute.placement.insight.capacity import Capacity, compute_capacity
from etcdcompute.placement.insight.explain import explain
from etcdcompute.placement.insight.explanation import Explanation
from etcdcompute.placement.suspension import offload

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
# As for the embedded store: clients give up after 5 s unless told otherwise.
_TIMEOUT_S: Final = 4.0
# Large ones take longer; who asks for everything waits for it.
_LENGTHY_S: Final = 60.0
_PREPARE_S: Final = 60.0
_HEALTH_S: Final = 2.0
_RETRY_PREPARING_S: Final = 1.0
_LOOK_S: Final = 5.0
_LEAVE_S: Final = 1.0
# What goes into one transaction of a load, how many of these are under way at once, and how many a call best brings, as
# the last of them has nobody beside it.
_TREES_A_TRANSACTION: Final = 500
_TRANSACTIONS: Final = 2
_TRANSACTIONS_A_CALL: Final = 8
_FOUND: Final = "MATCH (c:PlacementChange {id: $id}) RETURN c.revision AS revision"


_WARMED_UP: Final = (loading, searching, questions, deciding, writing)


class Neo4jStore:
    """GraphStore over a Neo4j server. Thread-safe. `request_timeout_s` bounds every call but the lengthy ones.

    `locking` off is for the test that shows what the locks are for.
    """

    def __init__(self, address: Address, *, request_timeout_s: float = _TIMEOUT_S, locking: bool = True) -> None:
        self._connection = Connection(address)
        self._timeout_s = request_timeout_s
        self._locking = locking
        # How often the server had failed when it was prepared, -1 while it is not.
        self._prepared_at = -1
        # Why it could not be prepared the last time.
        self._hindrance = ""
        self._condition = threading.Condition()
        self._needed = threading.Event()
        self._keeper: threading.Thread | None = None
        self._stop = threading.Event()
        self._follower = Follower(self._connection, self._ready)
        self._asker = Asker(address)
        self._lookout = importing.Lookout(self._connection)
        self._leads = Leads()

    # Life cycle

    def start(self) -> None:
        """Begin to prepare the database."""
        with contextlib.suppress(Unavailable):
            self._ready(Deadline.after(0.0))

    def close(self) -> None:
        """Let go of the server."""
        self._stop.set()
        self._asker.close()
        self._follower.close()
        self._needed.set()
        if self._keeper is not None:
            # What it has begun it ends, unless that takes long: then it fails on the closed connection.
            self._keeper.join(timeout=_LEAVE_S)
        self._connection.close()

    def check_health(self) -> dict[str, str]:
        """Ask the server, and whether its schema is ours."""
        return offload(self._check_health)

    def _check_health(self) -> dict[str, str]:
        deadline = Deadline.after(min(_HEALTH_S, self._timeout_s))
        health = {"store": "ok", "graph": "ok"}
        try:
            self._connection.read(questions.fetch_head, deadline)
        except EtcdComputeError as error:
            health["store"] = str(error)
            health["graph"] = "cannot be looked at"
            return health
        if not self._prepared:
            self._needed.set()
            health["graph"] = self._unprepared()
            return health
        try:
            self._lookout.check(deadline)
        except EtcdComputeError as error:
            health["graph"] = str(error)
        return health

    def _keep_prepared(self) -> None:
        """Prepare the database as soon as it is there, and again whenever it may have been begun afresh."""
        while not self._stop.is_set():
            self._needed.clear()
            if not self._prepared:
                failures = self._connection.failures
                try:
                    prepare(self._connection, Deadline.after(_PREPARE_S))
                    self._warm_up()
                except EtcdComputeError as error:
                    self._tell_prepared(-1, str(error))
                except Exception as error:  # noqa: BLE001 - whoever asks hears of it
                    _LOG.exception("BUG: the graph in Neo4j could not be prepared")
                    self._tell_prepared(-1, f"the graph in Neo4j could not be prepared: {error}")
                else:
                    self._tell_prepared(failures, "")
            self._needed.wait(_LOOK_S if self._prepared else _RETRY_PREPARING_S)

    @property
    def _prepared(self) -> bool:
        """Whether the database has our schema, and has planned our statements since it was started."""
        return self._prepared_at == self._connection.failures

    def _tell_prepared(self, at: int, hindrance: str) -> None:
        with self._condition:
            self._prepared_at = at
            self._hindrance = hindrance
            self._condition.notify_all()

    def _ready(self, deadline: Deadline) -> None:
        """Wait until the database is prepared; Unavailable where it is not in time, or away."""
        if self._prepared:
            return
        if self._connection.failure is not None:
            raise Unavailable(str(self._connection.failure))
        with self._condition:
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep_prepared, name="placement-schema", daemon=True)
                self._keeper.start()
            self._needed.set()
            self._condition.wait_for(lambda: self._prepared or self._hindrance, timeout=deadline.remaining_s)
        if not self._prepared:
            raise Unavailable(self._unprepared())

    def _unprepared(self) -> str:
        being = f"Neo4j at {self._connection.address.host_port} is being prepared: it plans what it will be asked"
        return self._hindrance or being

    def _warm_up(self) -> None:
        """Have the database plan all statements, so that the first requests need not wait for it; side by side."""
        deadline = Deadline.after(_PREPARE_S)
        with ThreadPoolExecutor(len(_WARMED_UP), thread_name_prefix="placement-warm-up") as pool:
            for done in [pool.submit(self._connection.rehearse, module.warm_up, deadline) for module in _WARMED_UP]:
                done.result()

    # How the database is asked and changed

    def _read(self, question: Callable[[Work], _T], timeout_s: float | None = None) -> _T:
        return offload(self._read_now, question, Deadline.after(timeout_s or self._timeout_s))

    def _read_now(self, question: Callable[[Work], _T], deadline: Deadline) -> _T:
        self._ready(deadline)
        self._lookout.check(deadline)
        return self._connection.read(question, deadline)

    def _look(self, wanted: Scope, question: Callable[[Graph], _T]) -> _T:
        """Ask a part of the graph."""
        return self._read(lambda work: question(load(work, wanted).graph))

    def _change(self, wanted: Scope, decision: Callable[[Graph, Change], _T]) -> _T:
        """Decide and write, or be refused."""
        outcome: _T | EtcdComputeError = self._change_all(wanted, [decision])[0]
        if isinstance(outcome, EtcdComputeError):
            raise outcome
        return outcome

    def _change_all(self, wanted: Scope, decisions: Sequence[Decision]) -> list[Any]:
        # Many at once are a load, which waits for them.
        timeout_s = self._timeout_s if len(decisions) == 1 else _LENGTHY_S
        outcomes = offload(self._change_now, wanted, decisions, Deadline.after(timeout_s))
        self._follower.tell()
        return outcomes

    def _change_now(self, wanted: Scope, decisions: Sequence[Decision], deadline: Deadline) -> list[Any]:
        while True:
            change = Change()
            outcomes: list[Any] = []

            def work_on(work: Work, change: Change = change, outcomes: list[Any] = outcomes) -> list[Any]:
                change.clear()
                outcomes[:] = carry_out(work, decisions, wanted, change, locking=self._locking)
                return outcomes

            self._ready(deadline)
            try:
                return self._connection.write(work_on, deadline)
            except HeadMissing:
                self._tell_prepared(-1, "")
            except CommitLost as lost:
                if self._find_out(change.id, deadline, lost):
                    return outcomes

    def _find_out(self, change_id: str, deadline: Deadline, lost: CommitLost) -> bool:
        """Tell whether a change whose answer was lost was carried out; if it was not, it never will be.

        Whoever has the head's lock knows that the lost transaction, which had it, has ended.
        """

        def ask(work: Work) -> bool:
            lock_head(work)
            return bool(work.rows(_FOUND, id=change_id))

        while not deadline.expired:
            try:
                return self._connection.write(ask, deadline)
            except HeadMissing:
                return False
            except (Unavailable, OutcomeUnknown):
                self._stop.wait(min(_RETRY_PREPARING_S / 10, deadline.remaining_s))
        raise lost

    # Reads

    def get_provider(self, uuid: str) -> Provider:
        """Return a provider."""
        return self._look(Scope(providers=[uuid]), lambda graph: decide.existing(graph, uuid).record())

    def list_providers(self, wanted: ProviderFilter) -> list[Provider]:
        """Return the providers that match."""
        named = {*wanted.forbidden_traits}.union(*wanted.required_traits)

        def ask(work: Work) -> list[Provider]:
            about = Scope(providers=questions.find_matching(work, wanted), traits=named, classes=wanted.resources or ())
            return [node.record() for node in queries.list_providers(load(work, about).graph, wanted)]

        return self._read(ask, _LENGTHY_S)

    def get_consumer(self, uuid: str) -> tuple[Consumer | None, Mapping[str, int]]:
        """Return a consumer and the generations of its providers."""

        def ask(graph: Graph) -> tuple[Consumer | None, Mapping[str, int]]:
            consumer = graph.consumer(uuid)
            return consumer, queries.generations(graph, consumer.allocations if consumer else ())

        return self._look(Scope(consumers=[uuid]), ask)

    def list_provider_consumers(self, uuid: str) -> tuple[Provider, list[Consumer]]:
        """Return who claims from a provider."""

        def ask(graph: Graph) -> tuple[Provider, list[Consumer]]:
            node = decide.existing(graph, uuid)
            found = [graph.consumer(each) for each in sorted(node.consumers)]
            return node.record(), [each for each in found if each is not None]

        return self._look(Scope(providers=[uuid], claimed=[uuid]), ask)

    def get_tree(self, uuid: str) -> Tree:
        """Return the tree of a root."""
        return self._look(Scope(providers=[uuid]), lambda graph: decide_trees.get_tree(graph, uuid))

    def list_usages(self, project_id: str, user_id: str | None, consumer_type: str | None) -> list[ConsumerUsage]:
        """Return a project's use."""
        return self._read(lambda work: questions.list_usages(work, project_id, user_id, consumer_type))

    def find_candidates(self, request: CandidateRequest) -> Candidates:
        """Return where a request fits."""

        def ask(work: Work) -> Candidates:
            queries.check_names(self._names(work, request), request.resource_classes, request.traits)
            topology = StoredTopology(work, self._leads)
            try:
                return find_candidates(topology, request)
            finally:
                topology.let_go()

        return self._read(ask, _LENGTHY_S)

    def explain(self, request: CandidateRequest) -> Explanation:
        """Return why a request has candidates, or none."""

        def ask(work: Work) -> tuple[StillGraph, frozenset[str]]:
            names = self._names(work, request)
            return self._still(work), queries.unknown_names(names, request.resource_classes, request.traits)

        still, unknown = self._read(ask, _LENGTHY_S)
        return explain(still, request, unknown)

    def compute_capacity(self, request: CandidateRequest) -> Capacity:
        """Return how many more of a request fit."""

        def ask(work: Work) -> StillGraph:
            queries.check_names(self._names(work, request), request.resource_classes, request.traits)
            return self._still(work)

        return compute_capacity(self._read(ask, _LENGTHY_S), request)

    def _names(self, work: Work, request: CandidateRequest) -> Graph:
        """Return a graph of nothing but the custom names that a request has."""
        return load(work, scope.of_names(traits=request.traits, classes=request.resource_classes)).graph

    def _still(self, work: Work) -> StillGraph:
        topology = StoredTopology(work, self._leads)
        try:
            return StillGraph(topology.all_nodes())
        finally:
            topology.let_go()

    def get_trait(self, name: str) -> Named:
        """Return a trait."""
        return self._look(scope.of_trait(name), lambda graph: queries.get_trait(graph, name))

    def list_traits(self, names: Collection[str] | None, prefix: str | None, associated: bool | None) -> list[Named]:
        """Return traits by name."""
        found = self._read(questions.fetch_traits)
        return queries.list_traits(found.custom, found.in_use, names, prefix, associated)

    def get_resource_class(self, name: str) -> Named:
        """Return a resource class."""
        return self._look(scope.of_class(name), lambda graph: queries.get_resource_class(graph, name))

    def list_resource_classes(self) -> list[Named]:
        """Return all resource classes."""
        return queries.list_resource_classes(self._read(questions.fetch_classes))

    def take_snapshot(self) -> Snapshot:
        """Return the whole graph as it stands at one revision; changes wait until it is read."""

        holdings = self.inspect()
        refuse(holdings.importing)
        return holdings.snapshot

    def follow_changes(self) -> Feed:
        """Return the feed of changes, with all in it that was written before."""

        def follow(deadline: Deadline) -> Feed:
            self._ready(deadline)
            self._lookout.check(deadline)
            return self._follower.feed(deadline)

        return offload(follow, Deadline.after(self._timeout_s))

    def query(self, statement: str, parameters: Mapping[str, Any], *, timeout_s: float, most_rows: int) -> QueryResult:
        """Return what a query in Cypher finds, which may only read."""

        def ask(deadline: Deadline) -> QueryResult:
            self._ready(deadline)
            self._lookout.check(deadline)
            return self._asker.ask(statement, parameters, timeout_s=timeout_s, most_rows=most_rows)

        return offload(ask, Deadline.after(self._timeout_s))

    # Imports

    def inspect(self) -> Holdings:
        """Return all that is there, also during an import; changes wait until it is read."""

        def take(deadline: Deadline) -> Holdings:
            self._ready(deadline)
            return self._connection.write(importing.take_holdings, deadline)

        return offload(take, Deadline.after(_LENGTHY_S))

    def fetch_revision(self) -> int:
        """Return the revision of the last change."""
        return offload(self._connection.read, questions.fetch_head, Deadline.after(self._timeout_s))

    def begin_import(self, marker: ImportDocument, revision: int) -> None:
        """Put up the marker of an import, and wait until it has been seen."""
        self._import(Change(), lambda work, change: importing.begin(work, change, marker, revision))
        self._stop.wait(importing.SETTLE_S)

    def import_documents(self, change: Change, run: str) -> None:
        """Carry out a change of an import."""
        self._import(change, lambda work, change: importing.put_documents(work, change, run))

    def finish_import(self, run: str) -> None:
        """Take the marker down."""
        self._import(Change(), lambda work, change: importing.finish(work, change, run))

    def _import(self, change: Change, work_on: Callable[[Work, Change], None]) -> None:
        deadline = Deadline.after(_LENGTHY_S)
        while True:
            self._ready(deadline)
            try:
                self._connection.write(lambda work: work_on(work, change), deadline)
            except HeadMissing:
                self._tell_prepared(-1, "")
            except CommitLost as lost:
                if self._find_out(change.id, deadline, lost):
                    return
            else:
                return

    # Writes

    def create_provider(self, uuid: str, name: str, parent_uuid: str | None) -> Provider:
        """Create a provider."""
        return self._change(
            scope.of_new_provider(uuid, name, parent_uuid),
            lambda graph, change: decide.create_provider(graph, change, uuid, name, parent_uuid),
        )

    def update_provider(self, uuid: str, name: str, parent_uuid: str | None, *, move: bool, reparent: bool) -> Provider:
        """Rename or move a provider."""
        return self._change(
            scope.of_new_provider(uuid, name, parent_uuid),
            lambda graph, change: decide.update_provider(
                graph, change, uuid, name, parent_uuid, move=move, reparent=reparent
            ),
        )

    def delete_provider(self, uuid: str) -> None:
        """Remove a provider."""
        self._change(
            scope.of_provider(uuid, claimed=True), lambda graph, change: decide.delete_provider(graph, change, uuid)
        )

    def set_inventories(self, uuid: str, inventories: Mapping[str, Inventory], generation: int | None) -> Provider:
        """Replace all inventories."""
        return self._change(
            scope.of_provider(uuid, classes=inventories, claimed=True),
            lambda graph, change: decide.set_inventories(graph, change, uuid, inventories, generation),
        )

    def add_inventory(self, uuid: str, resource_class: str, inventory: Inventory) -> Provider:
        """Add one inventory."""
        return self._change(
            scope.of_provider(uuid, classes=[resource_class]),
            lambda graph, change: decide.add_inventory(graph, change, uuid, resource_class, inventory),
        )

    def update_inventory(self, uuid: str, resource_class: str, inventory: Inventory, generation: int) -> Provider:
        """Replace one inventory."""
        return self._change(
            scope.of_provider(uuid, classes=[resource_class]),
            lambda graph, change: decide.update_inventory(graph, change, uuid, resource_class, inventory, generation),
        )

    def delete_inventory(self, uuid: str, resource_class: str) -> None:
        """Remove one inventory."""
        self._change(
            scope.of_provider(uuid, claimed=True),
            lambda graph, change: decide.delete_inventory(graph, change, uuid, resource_class),
        )

    def set_traits(self, uuid: str, traits: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's traits."""
        return self._change(
            scope.of_provider(uuid, traits=traits),
            lambda graph, change: decide.set_traits(graph, change, uuid, traits, generation),
        )

    def set_aggregates(self, uuid: str, aggregates: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's aggregates."""
        return self._change(
            scope.of_provider(uuid),
            lambda graph, change: decide.set_aggregates(graph, change, uuid, aggregates, generation),
        )

    def declare_tree(self, tree: Tree) -> TreeOutcome:
        """Make a tree what is declared."""
        return self._change(scope.of_trees([tree]), decide_trees.declaration(tree))

    @property
    def trees_at_once(self) -> int:
        """As many as keep several transactions busy."""
        return _TREES_A_TRANSACTION * _TRANSACTIONS_A_CALL

    def declare_trees(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        """Make trees what is declared; while some are decided here, Neo4j writes others."""
        parts = [trees[at : at + _TREES_A_TRANSACTION] for at in range(0, len(trees), _TREES_A_TRANSACTION)]
        if len(parts) == 1:
            return self._declare(trees)
        return offload(self._declare_side_by_side, parts)

    def _declare_side_by_side(self, parts: Sequence[Sequence[Tree]]) -> list[TreeOutcome | EtcdComputeError]:
        with ThreadPoolExecutor(_TRANSACTIONS, thread_name_prefix="placement-trees") as pool:
            return list(chain.from_iterable(pool.map(self._declare_or_fail, parts)))

    def _declare_or_fail(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        try:
            return self._declare(trees)
        except EtcdComputeError as error:
            return [error] * len(trees)

    def _declare(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        return self._change_all(scope.of_trees(trees), [decide_trees.declaration(tree) for tree in trees])

    def delete_tree(self, uuid: str) -> list[str]:
        """Make sure that a tree is absent."""
        return self._change(scope.of_tree(uuid), lambda graph, change: decide_trees.delete_tree(graph, change, uuid))

    def claim(self, claims: Sequence[Claim]) -> None:
        """Replace the allocations of consumers."""
        self._change(scope.of_claims(claims), lambda graph, change: decide_claims.claim(graph, change, claims))

    def release(self, consumer_uuid: str) -> None:
        """End a consumer's allocations."""
        self._change(
            scope.of_release(consumer_uuid), lambda graph, change: decide_claims.release(graph, change, consumer_uuid)
        )

    def reshape(self, inventories: Mapping[str, NewInventories], claims: Sequence[Claim]) -> None:
        """Replace inventories and allocations together."""
        classes = {name for each in inventories.values() for name in each.inventories}
        self._change(
            scope.of_claims(claims, reshaped=inventories, classes=classes),
            lambda graph, change: decide_reshape.reshape(graph, change, inventories, claims),
        )

    def create_trait(self, name: str) -> bool:
        """Make sure that a custom trait exists."""
        return self._change(scope.of_trait(name), lambda graph, change: decide_names.create_trait(graph, change, name))

    def delete_trait(self, name: str) -> None:
        """Remove a custom trait."""
        self._change(
            scope.of_trait(name, removed=True), lambda graph, change: decide_names.delete_trait(graph, change, name)
        )

    def create_resource_class(self, name: str) -> bool:
        """Make sure that a custom resource class exists."""
        return self._change(
            scope.of_class(name), lambda graph, change: decide_names.create_resource_class(graph, change, name)
        )

    def rename_resource_class(self, name: str, new_name: str) -> None:
        """Give a custom class another name."""
        self._change(
            scope.of_class(name, new_name, removed=name),
            lambda graph, change: decide_names.rename_resource_class(graph, change, name, new_name),
        )

    def delete_resource_class(self, name: str) -> None:
        """Remove a custom resource class."""
        self._change(
            scope.of_class(name, removed=name),
            lambda graph, change: decide_names.delete_resource_class(graph, change, name),
        )
