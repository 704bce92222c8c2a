"""The embedded store: the graph in this process's memory, made durable by a journal, followed by all replicas.

A read learns the journal's head (concurrent reads share one question), waits until the local graph has got there, and
looks; where the graph was there already, which is the rule, it has looked meanwhile. A write decides on the local graph
and commits what it decided together with what it saw; if something it saw has changed meanwhile, it waits for the news
and decides again (`writing.py`). A refusal is only given on a graph that is known to be up to date.
"""

import gc
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict, EtcdComputeError, OutcomeUnknown, Unavailable
from etcdcompute.model.document import Document
from etcdcompute.placement.candidates.request import CandidateRequest, Candidates
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph import decide, decide_claims, decide_names, decide_reshape, decide_trees, queries
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import IMPORT, ImportDocument, Ref
from etcdcompute.placement.graph.errors import NoQueryLanguage
from etcdcompute.placement.graph.export import Snapshot, take_snapshot
from etcdcompute.placement.graph.feed import Feed
from etcdcompute.placement.graph.freshness import SharedQuestion
from etcdcompute.placement.graph.journal import Journal, Stale
from etcdcompute.placement.graph.memory import Graph
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
from etcdcompute.placement.graph.restoring import (
    ANOTHER_IMPORT,
    CHANGED_MEANWHILE,
    Holdings,
    beginning,
    belonging,
    refuse_while_importing,
)
from etcdcompute.placement.graph.still import StillGraph
from etcdcompute.placement.graph.trees import Tree, TreeOutcome
from etcdcompute.placement.graph.writing import Writers
from etcdcompute.placement.insight.capacity import Capacity, compute_capacity
from etcdcompute.placement.insight.explain import explain
from etcdcompute.placement.insight.explanation import Explanation
from etcdcompute.placement.suspension import Begun, Gate, begin, gate, offload

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_RESTART_PAUSE_S = 1.0
# Clients give up after 5 s unless told otherwise: they shall hear of an outage before that.
_TIMEOUT_S = 4.0
# How long a call waits for a store that did not answer the last one.
_IMPATIENT_S = 1.0
_HEALTH_S = 2.0
# An import has the store alone, and nobody who waits; to read a large graph for the first time takes a while.
_IMPORT_S = 30.0
_TREES_AT_ONCE = 512


class _Seen(Generic[_T]):
    """What a look at the graph found, or why that is refused, and how far the graph was."""

    __slots__ = ("_refusal", "_value", "delivered")

    def __init__(self, delivered: int, value: _T | None, refusal: EtcdComputeError | None) -> None:
        self.delivered = delivered
        self._value = value
        self._refusal = refusal

    def outcome(self) -> _T:
        if self._refusal is not None:
            try:
                raise self._refusal
            finally:
                # The refusal leads to this frame: together they would be garbage that only a collector finds.
                self._refusal = None
        return cast("_T", self._value)


class EmbeddedStore:
    """GraphStore over a journal. Thread-safe. `request_timeout_s` bounds every call."""

    def __init__(self, journal: Journal, *, request_timeout_s: float = _TIMEOUT_S) -> None:
        self._journal = journal
        self._timeout_s = request_timeout_s
        self._graph = Graph()
        self._delivered = -1
        # The last change of this process that was taken in before it was delivered.
        self._ahead = -1
        # All such changes, by revision: what is delivered of them is no news to the graph.
        self._taken_in: set[int] = set()
        self._feed = Feed()
        self._still = threading.Lock()
        # Who waits for the graph to get to a revision.
        self._behind: list[tuple[int, Gate]] = []
        self._writers = Writers(self)
        self._head = SharedQuestion(journal.ask_head)
        self._answering = True
        # Whether the graph was up to date when the journal was last asked.
        self._calm = True
        self._stop = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="placement-follower", daemon=True)

    # Life cycle

    def start(self) -> None:
        """Begin to follow the journal."""
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._journal.close()
        if self._follower.is_alive():
            self._follower.join(timeout=2.0)

    def check_health(self) -> dict[str, str]:
        """Ask the journal, and whether the local graph keeps up with it."""
        deadline = Deadline.after(min(_HEALTH_S, self._timeout_s))
        health = {"store": "ok", "graph": "ok" if self._delivered >= 0 else "has not been read yet"}
        try:
            head = self._ask_head(deadline)
            offload(self._journal.check, deadline)
        except EtcdComputeError as error:
            health["store"] = str(error)
            return health
        try:
            self._wait_for(head, deadline)
            refuse_while_importing(self._graph)
        except EtcdComputeError as error:
            health["graph"] = str(error)
        else:
            health["graph"] = "ok"
        return health

    # Following

    def reset(self, documents: Iterable[tuple[Ref, Document, int]], revision: int) -> None:
        """Take in a whole listing."""
        graph = Graph()
        listed = graph.load(documents)
        with self._still:
            self._graph = graph
            self._delivered = revision
            self._taken_in.clear()
            self._feed.start_over(listed)
            self._tell_behind()
        # Parents and children keep each other: the graph before would stay for long.
        gc.collect()

    def advance(self, changes: Iterable[Applied], revision: int) -> None:
        """Take in committed changes, each as a whole."""
        arrived = list(changes)
        with self._still:
            for applied in arrived:
                if applied.revision in self._taken_in:
                    self._taken_in.remove(applied.revision)
                    self._graph.head = max(self._graph.head, applied.revision)
                else:
                    self._graph.apply(applied)
            self._feed.add(arrived)
            self._delivered = max(self._delivered, revision)
            self._graph.forget_removed(self._delivered)
            self._tell_behind()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._journal.follow(self, self._stop)
            except Exception:  # noqa: BLE001 - without a follower every read would wait in vain
                _LOG.exception("BUG: following the placement graph failed; starting over from a listing")
                self._stop.wait(_RESTART_PAUSE_S)

    def _deadline(self) -> Deadline:
        """Return until when a call may take; in an outage callers hear of it soon."""
        return Deadline.after(self._timeout_s if self._answering else min(_IMPATIENT_S, self._timeout_s))

    def _ask_head(self, deadline: Deadline) -> int:
        return self._hear(self._head.begin(deadline))

    def _hear(self, answer: Callable[[], int]) -> int:
        try:
            head = answer()
        except Unavailable:
            self._answering = False
            raise
        self._answering = True
        return head

    def _tell_behind(self) -> None:
        arrived = [gate for revision, gate in self._behind if revision <= self._delivered]
        if arrived:
            self._behind = [each for each in self._behind if each[0] > self._delivered]
            for each in arrived:
                each.open()

    def _wait_for(self, revision: int, deadline: Deadline) -> None:
        with self._still:
            if self._delivered >= revision:
                return
            mine = (revision, gate())
            self._behind.append(mine)
        try:
            arrived = mine[1].wait(deadline.remaining_s)
        finally:
            with self._still:
                if mine in self._behind:
                    self._behind.remove(mine)
        if not arrived:
            behind = "has not been read yet" if self._delivered < 0 else "lags behind"
            raise Unavailable(f"the placement graph {behind}: it stands at {self._delivered} of {revision}")

    def _look(self, question: Callable[[Graph], _T]) -> _T:
        """Ask the graph, with all in it that was written before this call.

        While the journal is asked how far that is the graph is looked at already: mostly it is there. Where others
        write it often is not, and in an outage nobody gets what was seen; so not after either was the case.
        """
        deadline = self._deadline()
        answer = self._head.begin(deadline)
        early = None
        try:
            if self._calm and self._answering:
                early = self._look_now(question)
        finally:
            head = self._hear(answer)
        self._calm = self._delivered >= head
        if early is not None and early.delivered >= head:
            return early.outcome()
        self._wait_for(head, deadline)
        return self._look_now(question).outcome()

    def _look_now(self, question: Callable[[Graph], _T]) -> _Seen[_T]:
        with self._still:
            try:
                refuse_while_importing(self._graph)
                value = question(self._graph)
            except EtcdComputeError as refusal:
                return _Seen(self._delivered, None, refusal)
            return _Seen(self._delivered, value, None)

    # Writing, as the queue of writers needs it

    @contextmanager
    def held_still(self) -> Iterator[Graph]:
        """Give the graph as it stands."""
        with self._still:
            yield self._graph

    def refresh(self, deadline: Deadline) -> None:
        """Wait until the local graph has all that was written before this call; Unavailable during an import."""
        self._wait_for(self._ask_head(deadline), deadline)
        refuse_while_importing(self._graph)

    def begin(self, change: Change, deadline: Deadline) -> Callable[[], None]:
        """Begin to carry out a change; what comes back waits for that and takes the change in."""
        committing = begin(self._journal.commit, change, deadline)
        return lambda: self._finish(change, committing)

    def _finish(self, change: Change, committing: Begun[int]) -> None:
        try:
            revision = committing.result()
        except (Unavailable, OutcomeUnknown):
            self._answering = False
            raise
        self._answering = True
        with self._still:
            # Where the watch was faster, what came behind this change may have come, too: it is no news any more.
            if revision > self._delivered:
                self._ahead = max(self._ahead, revision)
                self._taken_in.add(revision)
                self._graph.apply(Applied(revision, {**change.puts, **dict.fromkeys(change.removals)}))

    def _change(self, decision: Callable[[Graph, Change], _T]) -> _T:
        """Decide and commit until it holds, or is refused on good grounds."""
        outcome: _T | EtcdComputeError = self._change_all([decision])[0]
        if isinstance(outcome, EtcdComputeError):
            raise outcome
        return outcome

    def _change_all(self, decisions: Sequence[Callable[[Graph, Change], _T]]) -> list[_T | EtcdComputeError]:
        """Carry out many changes, each all or nothing, sharing transactions; return results and refusals."""
        deadline = self._deadline()
        if self._delivered < 0:
            self.refresh(deadline)
        return self._writers.change(decisions, deadline)

    # Reads

    def get_provider(self, uuid: str) -> Provider:
        """Return a provider."""
        return self._look(lambda graph: decide.existing(graph, uuid).record())

    def list_providers(self, wanted: ProviderFilter) -> list[Provider]:
        """Return the providers that match."""
        return self._look(lambda graph: [node.record() for node in queries.list_providers(graph, wanted)])

    def get_consumer(self, uuid: str) -> tuple[Consumer | None, Mapping[str, int]]:
        """Return a consumer and the generations of its providers."""

        def ask(graph: Graph) -> tuple[Consumer | None, Mapping[str, int]]:
            consumer = graph.consumer(uuid)
            return consumer, queries.generations(graph, consumer.allocations if consumer else ())

        return self._look(ask)

    def list_provider_consumers(self, uuid: str) -> tuple[Provider, list[Consumer]]:
        """Return who claims from a provider."""

        def ask(graph: Graph) -> tuple[Provider, list[Consumer]]:
            node = decide.existing(graph, uuid)
            found = [graph.consumer(each) for each in sorted(node.consumers)]
            return node.record(), [each for each in found if each is not None]

        return self._look(ask)

    def get_tree(self, uuid: str) -> Tree:
        """Return the tree of a root."""
        return self._look(lambda graph: decide_trees.get_tree(graph, uuid))

    def list_usages(self, project_id: str, user_id: str | None, consumer_type: str | None) -> list[ConsumerUsage]:
        """Return a project's use."""
        return self._look(lambda graph: queries.list_usages(graph, project_id, user_id, consumer_type))

    def find_candidates(self, request: CandidateRequest) -> Candidates:
        """Return where a request fits."""

        def ask(graph: Graph) -> Candidates:
            queries.check_names(graph, request.resource_classes, request.traits)
            return find_candidates(graph, request)

        return self._look(ask)

    def explain(self, request: CandidateRequest) -> Explanation:
        """Return why a request has candidates, or none."""

        def ask(graph: Graph) -> tuple[StillGraph, frozenset[str]]:
            unknown = queries.unknown_names(graph, request.resource_classes, request.traits)
            return StillGraph(graph.all_nodes()), unknown

        still, unknown = self._look(ask)
        return explain(still, request, unknown)

    def compute_capacity(self, request: CandidateRequest) -> Capacity:
        """Return how many more of a request fit."""

        def ask(graph: Graph) -> StillGraph:
            queries.check_names(graph, request.resource_classes, request.traits)
            return StillGraph(graph.all_nodes())

        return compute_capacity(self._look(ask), request)

    def get_trait(self, name: str) -> Named:
        """Return a trait."""
        return self._look(lambda graph: queries.get_trait(graph, name))

    def list_traits(self, names: Collection[str] | None, prefix: str | None, associated: bool | None) -> list[Named]:
        """Return traits by name."""

        def ask(graph: Graph) -> list[Named]:
            custom = {name: at for name, (at, _) in graph.custom_traits.items()}
            return queries.list_traits(custom, graph.by_trait, names, prefix, associated)

        return self._look(ask)

    def get_resource_class(self, name: str) -> Named:
        """Return a resource class."""
        return self._look(lambda graph: queries.get_resource_class(graph, name))

    def list_resource_classes(self) -> list[Named]:
        """Return all resource classes."""
        return self._look(
            lambda graph: queries.list_resource_classes({name: at for name, (at, _) in graph.custom_classes.items()})
        )

    def take_snapshot(self) -> Snapshot:
        """Return the whole graph as it stands at one revision."""
        deadline = self._deadline()
        self.refresh(deadline)
        return self._take(deadline).snapshot

    def _take(self, deadline: Deadline) -> Holdings:
        """Return all there is, once all that this process wrote itself has been delivered."""
        while True:
            with self._still:
                ahead = self._ahead
                if ahead <= self._delivered:
                    importing = self._graph.importing
                    return Holdings(take_snapshot(self._graph), importing[0] if importing else None)
            self._wait_for(ahead, deadline)

    def follow_changes(self) -> Feed:
        """Return the feed of changes, with all in it that was written before."""
        self.refresh(self._deadline())
        return self._feed

    def query(
        self,
        statement: str,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        timeout_s: float,  # noqa: ARG002
        most_rows: int,  # noqa: ARG002
    ) -> QueryResult:
        """Refuse: there is no query language here."""
        raise NoQueryLanguage(
            "The graph is in memory and etcd, which take no queries in Cypher. Neo4j does: serve from there "
            "(placement.graph: neo4j://…), or copy the graph there with etcdcompute graph export and graph import."
        )

    # Imports

    def inspect(self) -> Holdings:
        """Return all that is there, also during an import."""
        head = self._ask_head(self._deadline())
        deadline = Deadline.after(_IMPORT_S)
        self._wait_for(head, deadline)
        offload(self._journal.check, deadline)
        return self._take(deadline)

    def fetch_revision(self) -> int:
        """Return the revision of the last change."""
        return self._ask_head(self._deadline())

    def begin_import(self, marker: ImportDocument, revision: int) -> None:
        """Put up the marker of an import."""
        with self._still:
            change = beginning(self._graph, marker, revision)
        self._import(change, CHANGED_MEANWHILE)

    def import_documents(self, change: Change, run: str) -> None:
        """Carry out a change of an import."""
        with self._still:
            change = belonging(self._graph, change, run)
        self._import(change, ANOTHER_IMPORT)

    def finish_import(self, run: str) -> None:
        """Take the marker down."""
        change = Change()
        change.remove(IMPORT)
        self.import_documents(change, run)

    def _import(self, change: Change, stale: str) -> None:
        try:
            self.begin(change, Deadline.after(_IMPORT_S))()
        except Stale as error:
            raise Conflict(stale) from error

    # Writes

    def create_provider(self, uuid: str, name: str, parent_uuid: str | None) -> Provider:
        """Create a provider."""
        return self._change(lambda graph, change: decide.create_provider(graph, change, uuid, name, parent_uuid))

    def update_provider(self, uuid: str, name: str, parent_uuid: str | None, *, move: bool, reparent: bool) -> Provider:
        """Rename or move a provider."""
        return self._change(
            lambda graph, change: decide.update_provider(
                graph, change, uuid, name, parent_uuid, move=move, reparent=reparent
            )
        )

    def delete_provider(self, uuid: str) -> None:
        """Remove a provider."""
        self._change(lambda graph, change: decide.delete_provider(graph, change, uuid))

    def set_inventories(self, uuid: str, inventories: Mapping[str, Inventory], generation: int | None) -> Provider:
        """Replace all inventories."""
        return self._change(lambda graph, change: decide.set_inventories(graph, change, uuid, inventories, generation))

    def add_inventory(self, uuid: str, resource_class: str, inventory: Inventory) -> Provider:
        """Add one inventory."""
        return self._change(lambda graph, change: decide.add_inventory(graph, change, uuid, resource_class, inventory))

    def update_inventory(self, uuid: str, resource_class: str, inventory: Inventory, generation: int) -> Provider:
        """Replace one inventory."""
        return self._change(
            lambda graph, change: decide.update_inventory(graph, change, uuid, resource_class, inventory, generation)
        )

    def delete_inventory(self, uuid: str, resource_class: str) -> None:
        """Remove one inventory."""
        self._change(lambda graph, change: decide.delete_inventory(graph, change, uuid, resource_class))

    def set_traits(self, uuid: str, traits: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's traits."""
        return self._change(lambda graph, change: decide.set_traits(graph, change, uuid, traits, generation))

    def set_aggregates(self, uuid: str, aggregates: Collection[str], generation: int | None) -> Provider:
        """Replace a provider's aggregates."""
        return self._change(lambda graph, change: decide.set_aggregates(graph, change, uuid, aggregates, generation))

    def declare_tree(self, tree: Tree) -> TreeOutcome:
        """Make a tree what is declared."""
        return self._change(decide_trees.declaration(tree))

    @property
    def trees_at_once(self) -> int:
        """Several rounds: while one is written the next is decided."""
        return _TREES_AT_ONCE

    def declare_trees(self, trees: Sequence[Tree]) -> list[TreeOutcome | EtcdComputeError]:
        """Make trees what is declared."""
        return self._change_all([decide_trees.declaration(tree) for tree in trees])

    def delete_tree(self, uuid: str) -> list[str]:
        """Make sure that a tree is absent."""
        return self._change(lambda graph, change: decide_trees.delete_tree(graph, change, uuid))

    def claim(self, claims: Sequence[Claim]) -> None:
        """Replace the allocations of consumers."""
        self._change(lambda graph, change: decide_claims.claim(graph, change, claims))

    def release(self, consumer_uuid: str) -> None:
        """End a consumer's allocations."""
        self._change(lambda graph, change: decide_claims.release(graph, change, consumer_uuid))

    def reshape(self, inventories: Mapping[str, NewInventories], claims: Sequence[Claim]) -> None:
        """Replace inventories and allocations together."""
        self._change(lambda graph, change: decide_reshape.reshape(graph, change, inventories, claims))

    def create_trait(self, name: str) -> bool:
        """Make sure that a custom trait exists."""
        return self._change(lambda graph, change: decide_names.create_trait(graph, change, name))

    def delete_trait(self, name: str) -> None:
        """Remove a custom trait."""
        self._change(lambda graph, change: decide_names.delete_trait(graph, change, name))

    def create_resource_class(self, name: str) -> bool:
        """Make sure that a custom resource class exists."""
        return self._change(lambda graph, change: decide_names.create_resource_class(graph, change, name))

    def rename_resource_class(self, name: str, new_name: str) -> None:
        """Give a custom class another name."""
        self._change(lambda graph, change: decide_names.rename_resource_class(graph, change, name, new_name))

    def delete_resource_class(self, name: str) -> None:
        """Remove a custom resource class."""
        self._change(lambda graph, change: decide_names.delete_resource_class(graph, change, name))
