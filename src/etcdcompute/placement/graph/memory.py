"""The graph in memory, with the indexes that searches need. Synchronous, no I/O, not thread-safe by itself.

It changes by applying committed transactions (`apply`) or by starting over from a whole listing (`load`).
Transactions may come out of order for different providers, since a writer applies its own at once and the watch
delivers everybody's in order: each node remembers the revision it stands at and ignores what is older.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import msgspec

from etcdcompute.model.document import Document
from etcdcompute.placement.candidates import anchors
from etcdcompute.placement.candidates.request import CandidateRequest
from etcdcompute.placement.graph import standard
from etcdcompute.placement.graph.change import Applied, Change
from etcdcompute.placement.graph.documents import (
    CONSUMER,
    GENERATION,
    NAME,
    PROVIDER,
    RESOURCE_CLASS,
    TRAIT,
    ConsumerDocument,
    GenerationDocument,
    HeadDocument,
    ImportDocument,
    Kind,
    NamedDocument,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.pool import Pool
from etcdcompute.placement.graph.records import Consumer, Inventory, Named, Provider
from etcdcompute.placement.graph.room import RoomIndex
from etcdcompute.placement.graph.treenode import TreeNode

_EMPTY = ProviderDocument(uuid="", name="")


class Node(TreeNode):
    """One provider with what is claimed from it.

    `revision` is that of the generation's document, which every change of the provider rewrites, or, as long as there
    is none (`counted` is false), that of the provider's own. `room` is the most that one claim can take: what is free,
    and no more than the max_unit; `coarse` tells that some inventory is given in portions only.
    """

    __slots__ = (
        "aggregates",
        "coarse",
        "consumers",
        "counted",
        "document",
        "generation",
        "inventories",
        "revision",
        "room",
        "shares",
    )

    def __init__(self, uuid: str) -> None:
        super().__init__(uuid, "")
        self.document = _EMPTY
        self.generation = 0
        self.counted = False
        self.revision = 0
        self.inventories: Mapping[str, Inventory] = {}
        self.room: dict[str, int] = {}
        self.coarse = False
        self.aggregates: frozenset[str] = frozenset()
        self.shares = False
        self.consumers: set[str] = set()

    def record(self) -> Provider:
        """Return the provider as a value that later changes do not touch."""
        return Provider(
            uuid=self.uuid,
            name=self.name,
            generation=self.generation,
            parent_uuid=self.parent.uuid if self.parent else None,
            root_uuid=self.root.uuid,
            inventories=self.inventories,
            traits=self.traits,
            aggregates=self.aggregates,
            used={name: self.used.get(name, 0) for name in self.inventories},
            updated_at=self.document.updated_at,
        )


_NOWHERE = Node("")


class _Consumption:
    """A consumer's document and its revision."""

    __slots__ = ("document", "revision")

    def __init__(self, document: ConsumerDocument, revision: int) -> None:
        self.document = document
        self.revision = revision


class _Outfit(NamedTuple):
    """What follows from a provider's inventories."""

    inventories: dict[str, Inventory]
    capacities: Mapping[str, int]
    # While nobody has claimed anything.
    room: Mapping[str, int]
    coarse: bool

    @classmethod
    def of(cls, inventories: dict[str, Inventory]) -> Self:
        capacities = {name: each.capacity for name, each in inventories.items()}
        return cls(
            inventories,
            capacities,
            {name: min(capacities[name], each.max_unit) for name, each in inventories.items()},
            any(each.min_unit != 1 or each.step_size != 1 for each in inventories.values()),
        )


Rehearsal = list[tuple[Ref, "_Consumption | int | None"]]


class Graph:
    """All providers, consumers, custom traits and classes."""

    def __init__(self) -> None:
        self.providers: dict[str, Node] = {}
        self.names: dict[str, str] = {}
        self.consumers: dict[str, _Consumption] = {}
        self.custom_traits: dict[str, tuple[float, int]] = {}
        self.custom_classes: dict[str, tuple[float, int]] = {}
        self.by_class: dict[str, dict[str, Node]] = {}
        self.by_trait: dict[str, dict[str, Node]] = {}
        self.by_aggregate: dict[str, dict[str, Node]] = {}
        self.sharing: dict[str, Node] = {}
        self.room: RoomIndex[Node] = RoomIndex()
        self._outfits: Pool[_Outfit] = Pool()
        self._trait_sets: Pool[tuple[tuple[str, ...], frozenset[str]]] = Pool()
        self.by_project: dict[str, set[str]] = {}
        # The revision of the last change that was delivered in order: a writer's own, applied at once, has no head.
        self.head = 0
        # The import that is under way, and since which revision.
        self.importing: tuple[ImportDocument, int] | None = None
        # Claims on providers that are not (yet) there, kept so that the order of documents does not matter.
        self._homeless: dict[str, set[str]] = {}
        self._removed: dict[Ref, int] = {}

    # What searches and decisions ask

    def node(self, uuid: str) -> Node | None:
        """Return a provider's node, None where there is none."""
        return self.providers.get(uuid)

    def providers_with(self, resource_class: str) -> Mapping[str, Node]:
        """Return the providers that have inventory of a class, by uuid."""
        return self.by_class.get(resource_class, {})

    def with_room(self, resource_class: str, amount: int) -> Sequence[Collection[Node]]:
        """Return the providers that have room for an amount, and some that have a little less; most room first."""
        return self.room.at_least(resource_class, amount)

    def providers_having(self, trait: str) -> Mapping[str, Node]:
        """Return the providers that have a trait, by uuid."""
        return self.by_trait.get(trait, {})

    def members(self, aggregate: str) -> Mapping[str, Node]:
        """Return the providers in an aggregate, by uuid."""
        return self.by_aggregate.get(aggregate, {})

    def all_nodes(self) -> Iterable[Node]:
        """Return all providers."""
        return self.providers.values()

    def sharing_nodes(self) -> Collection[Node]:
        """Return the providers that share through their aggregates."""
        return self.sharing.values()

    def anchors(self, request: CandidateRequest, trees: Mapping[str, Node]) -> Iterator[list[Node]]:
        """Yield the roots of the trees that may have candidates, some at a time, each once."""
        return anchors.anchors(self, request, trees)

    def consumer(self, uuid: str) -> Consumer | None:
        """Return a consumer as a value, None where it has nothing."""
        found = self.consumers.get(uuid)
        if found is None:
            return None
        document = found.document
        return Consumer(
            uuid=uuid,
            generation=document.generation,
            project_id=document.project_id,
            user_id=document.user_id,
            consumer_type=document.consumer_type,
            allocations=document.allocations,
            updated_at=document.updated_at,
        )

    def trait(self, name: str) -> Named | None:
        """Return a trait, standard or custom."""
        if name in standard.TRAITS:
            return Named(name, None)
        found = self.custom_traits.get(name)
        return Named(name, found[0]) if found else None

    def resource_class(self, name: str) -> Named | None:
        """Return a resource class, standard or custom."""
        if name in standard.CLASS_NAMES:
            return Named(name, None)
        found = self.custom_classes.get(name)
        return Named(name, found[0]) if found else None

    # How it changes

    def load(self, documents: Iterable[tuple[Ref, Document, int]]) -> list[tuple[Ref, Document, int]]:
        """Take in, and return, a whole listing: (what, document, mod revision). Only for a graph that is empty."""
        listed = [(ref, self._thrifty(document), revision) for ref, document, revision in documents]
        # Providers first: the other documents are about them.
        for ref, document, revision in sorted(listed, key=lambda each: each[0].kind is not PROVIDER):
            node = self._put(ref, document, revision)
            if node is not None:
                node.revision = revision
        for node in self.providers.values():
            self._link(node)
        return listed

    def apply(self, applied: Applied) -> None:
        """Take in one committed transaction; applying it twice, or after later ones, does no harm."""
        described: list[Node] = []
        # Not yet as it was seen: a provider and its generation are two documents of one change.
        changed: list[Node] = []
        for ref, document in applied.documents.items():
            if self._revision(ref) >= applied.revision:
                continue
            if document is None:
                self._remove(ref, applied.revision)
            else:
                node = self._put(ref, document, applied.revision)
                if node is not None:
                    changed.append(node)
                    if ref.kind is PROVIDER:
                        described.append(node)
        for node in described:
            self._link(node)
        for node in changed:
            node.revision = max(node.revision, applied.revision)

    def set_used(self, uuid: str, used: Mapping[str, int]) -> None:
        """Take in what all consumers together use of a provider; for a graph that does not hold them all."""
        node = self.providers[uuid]
        self._use(node, dict(used), node.inventories)

    def rehearse(self, change: Change) -> Rehearsal:
        """Show a claim's consumers and generations as if it were committed; revisions stay as they are."""
        before: Rehearsal = []
        for ref in (*change.removals, *change.puts):
            document = change.puts.get(ref)
            if ref.kind is CONSUMER:
                known = self.consumers.get(ref.id)
                before.append((ref, known))
                revision = known.revision if known else 0
                self._set_consumption(
                    ref.id, _Consumption(document, revision) if isinstance(document, ConsumerDocument) else None
                )
            elif isinstance(document, GenerationDocument):
                node = self.providers[ref.id]
                before.append((ref, node.generation))
                node.generation = document.generation
        return before

    def take_back(self, rehearsal: Rehearsal) -> None:
        """Undo the last rehearsal."""
        for ref, before in reversed(rehearsal):
            if isinstance(before, int):
                self.providers[ref.id].generation = before
            else:
                self._set_consumption(ref.id, before)

    def _set_consumption(self, uuid: str, wanted: _Consumption | None) -> None:
        self._unclaim(uuid)
        known = self.consumers.pop(uuid, None)
        if known is not None:
            held = self.by_project[known.document.project_id]
            held.discard(uuid)
            if not held:
                del self.by_project[known.document.project_id]
        if wanted is not None:
            self.consumers[uuid] = wanted
            self.by_project.setdefault(wanted.document.project_id, set()).add(uuid)
            self._claim(uuid, wanted.document)

    def forget_removed(self, revision: int) -> None:
        """Drop the memory of removals that the watch has passed."""
        if self._removed:
            self._removed = {ref: at for ref, at in self._removed.items() if at > revision}

    def _revision(self, ref: Ref) -> int:
        """Return the revision at which the graph has a document (or its removal)."""
        removed = self._removed.get(ref, 0)
        if ref.kind is PROVIDER or ref.kind is GENERATION:
            node = self.providers.get(ref.id)
            return max(removed, node.revision) if node else removed
        if ref.kind is NAME:
            return removed
        if ref.kind is CONSUMER:
            consumer = self.consumers.get(ref.id)
            return max(removed, consumer.revision if consumer else 0)
        if ref.kind is TRAIT:
            return max(removed, self.custom_traits.get(ref.id, (0.0, 0))[1])
        if ref.kind is Kind.IMPORT:
            return max(removed, self.importing[1] if self.importing else 0)
        if ref.kind is RESOURCE_CLASS:
            return max(removed, self.custom_classes.get(ref.id, (0.0, 0))[1])
        return removed

    def _put(self, ref: Ref, document: Document, revision: int) -> Node | None:
        match document:
            case ProviderDocument():
                node = self._node_for(ref.id)
                self._describe(node, document)
                return node
            case NameDocument():
                self.names[ref.id] = document.uuid
            case GenerationDocument():
                known = self.providers.get(ref.id)
                if known is not None:
                    known.generation = document.generation
                    known.counted = True
                return known
            case ConsumerDocument():
                self._set_consumption(ref.id, _Consumption(document, revision))
            case NamedDocument() if ref.kind is TRAIT:
                self.custom_traits[ref.id] = (document.created_at, revision)
            case NamedDocument():
                self.custom_classes[ref.id] = (document.created_at, revision)
            case HeadDocument():
                self.head = max(self.head, revision)
            case ImportDocument():
                self.importing = (document, revision)
            case _:
                pass
        return None

    def _remove(self, ref: Ref, revision: int) -> None:
        self._removed[ref] = revision
        if ref.kind is PROVIDER:
            node = self.providers.pop(ref.id, None)
            if node is not None:
                self._unindex(node)
                for name, room in node.room.items():
                    self.room.move(node, name, room, 0)
                if node.parent is not None:
                    node.parent.disown(node)
                if node.consumers:
                    self._homeless[node.uuid] = set(node.consumers)
                node.cut_off(_NOWHERE)
        elif ref.kind is CONSUMER:
            self._set_consumption(ref.id, None)
        elif ref.kind is NAME:
            self.names.pop(ref.id, None)
        elif ref.kind is TRAIT:
            self.custom_traits.pop(ref.id, None)
        elif ref.kind is RESOURCE_CLASS:
            self.custom_classes.pop(ref.id, None)
        elif ref.kind is Kind.IMPORT:
            self.importing = None

    def _node_for(self, uuid: str) -> Node:
        node = self.providers.get(uuid)
        if node is None:
            node = self.providers[uuid] = Node(uuid)
            for consumer in self._homeless.pop(uuid, ()):
                self._claim_one(node, consumer, self.consumers[consumer].document.allocations[uuid])
        return node

    def _thrifty(self, document: Document) -> Document:
        """Return a document with large parts that equal ones have in common: thousands of hosts have the same."""
        if not isinstance(document, ProviderDocument):
            return document
        return _with_parts(document, self._outfit(document).inventories, self._trait_set(document)[0])

    def _outfit(self, document: ProviderDocument) -> _Outfit:
        held = document.inventories
        return self._outfits.same(tuple(held.items()), lambda: _Outfit.of(held))

    def _trait_set(self, document: ProviderDocument) -> tuple[tuple[str, ...], frozenset[str]]:
        traits = document.traits
        return self._trait_sets.same(traits, lambda: (traits, frozenset(traits)))

    def _describe(self, node: Node, document: ProviderDocument) -> None:
        if node.document is not _EMPTY:
            # One that is new is in no index.
            self._unindex(node)
        outfit = self._outfit(document)
        traits, node.traits = self._trait_set(document)
        node.document = _with_parts(document, outfit.inventories, traits)
        node.name = document.name
        node.inventories, node.capacities, node.coarse = outfit.inventories, outfit.capacities, outfit.coarse
        node.aggregates = frozenset(document.aggregates)
        node.shares = standard.SHARES_VIA_AGGREGATE in node.traits
        node.forget_summary()
        if node.room or node.used:
            self._measure(node, {**node.room, **node.inventories})
        else:
            node.room = dict(outfit.room)
            for name, room in node.room.items():
                self.room.move(node, name, 0, room)
        for index, names in self._indexes_of(node):
            for name in names:
                held = index.get(name)
                if held is None:
                    held = index[name] = {}
                held[node.uuid] = node
        if node.shares:
            self.sharing[node.uuid] = node

    def _measure(self, node: Node, classes: Collection[str]) -> None:
        """Take in that what a provider has of some classes, or what is claimed of them, may have changed."""
        for name in classes:
            before, inventory = node.room.get(name, 0), node.inventories.get(name)
            if inventory is None:
                after = 0
                node.room.pop(name, None)
            else:
                after = min(node.capacities[name] - node.used.get(name, 0), inventory.max_unit)
                node.room[name] = after
            self.room.move(node, name, before, after)

    def _indexes_of(self, node: Node) -> Sequence[tuple[dict[str, dict[str, Node]], Collection[str]]]:
        return (
            (self.by_class, node.inventories),
            (self.by_trait, node.traits),
            (self.by_aggregate, node.aggregates),
        )

    def _unindex(self, node: Node) -> None:
        for index, names in self._indexes_of(node):
            for name in names:
                held = index.get(name)
                if held is not None:
                    held.pop(node.uuid, None)
                    if not held:
                        del index[name]
        self.sharing.pop(node.uuid, None)

    def _link(self, node: Node) -> None:
        """Put a node below its parent, and tell the nodes below what their root is."""
        wanted = node.document.parent_uuid
        parent = self.providers.get(wanted) if wanted else None
        if node.parent is not parent:
            if node.parent is not None:
                node.parent.disown(node)
            node.parent = parent
        if parent is not None:
            parent.adopt(node)
        root = parent.root if parent is not None else node
        for each in node.tree():
            each.root = root
            each.forget_summary()

    def _claim(self, consumer: str, document: ConsumerDocument) -> None:
        for provider, resources in document.allocations.items():
            node = self.providers.get(provider)
            if node is None:
                self._homeless.setdefault(provider, set()).add(consumer)
            else:
                self._claim_one(node, consumer, resources)

    def _claim_one(self, node: Node, consumer: str, resources: Mapping[str, int]) -> None:
        node.consumers.add(consumer)
        used = dict(node.used)
        for name, amount in resources.items():
            used[name] = used.get(name, 0) + amount
        self._use(node, used, resources)

    def _use(self, node: Node, used: dict[str, int], changed: Collection[str]) -> None:
        node.used = used
        node.forget_summary()
        self._measure(node, changed)

    def _unclaim(self, consumer: str) -> None:
        found = self.consumers.get(consumer)
        if found is None:
            return
        for provider, resources in found.document.allocations.items():
            node = self.providers.get(provider)
            if node is None:
                self._homeless.get(provider, set()).discard(consumer)
                continue
            node.consumers.discard(consumer)
            left = {name: amount - resources.get(name, 0) for name, amount in node.used.items()}
            self._use(node, {name: amount for name, amount in left.items() if amount}, resources)


def _with_parts(
    document: ProviderDocument, inventories: dict[str, Inventory], traits: tuple[str, ...]
) -> ProviderDocument:
    """Return a document with equal parts in place of its own."""
    if document.inventories is inventories and document.traits is traits:
        return document
    return msgspec.structs.replace(document, inventories=inventories, traits=traits)
