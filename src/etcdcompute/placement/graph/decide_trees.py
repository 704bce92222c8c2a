"""Decisions on whole trees: from the graph as it is and a declared tree to the change to make. Pure.

The declared tree is what stands afterwards, so the decision depends on every provider that stands in the tree now: a
child that somebody adds meanwhile, a claim on one that is to go. Their generations guard all of that. What is as it was
declared is compared, but not written; where nothing differs, nothing is.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide import expect_class, expect_trait, inventory_in_use, remove, touch
from etcdcompute.placement.graph.documents import (
    GENERATION,
    HEAD,
    NAME,
    PROVIDER,
    RESOURCE_CLASS,
    TRAIT,
    Kind,
    NamedDocument,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.errors import (
    GenerationConflict,
    NameTaken,
    ProviderElsewhere,
    ProviderInUse,
    ProviderNotFound,
    some,
)
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.standard import CLASS_NAMES, class_order
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree, TreeOutcome

Clock = Callable[[], float]

# etcd compares 128 documents in a transaction unless told otherwise.
_MOST_COMPARED: Final = 120
_CUSTOM: Final = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")


def get_tree(graph: Graph, uuid: str) -> Tree:
    """Return the tree of a root as it stands, children in the order of their names; ProviderNotFound."""
    root = graph.node(uuid)
    if root is None:
        raise ProviderNotFound(uuid)
    if root.root is not root:
        raise ProviderElsewhere(f"Resource provider {uuid} is no root: it is in the tree of {root.root.uuid}.")
    return Tree(tuple(_as_it_stands(node) for node in _standing(root)))


def declare_tree(graph: Graph, change: Change, tree: Tree, clock: Clock = time.time) -> TreeOutcome:
    """Make a tree what is declared: create, update, move and remove what differs.

    Refused with ProviderElsewhere, GenerationConflict, NameTaken, ProviderInUse, InventoryInUse, UnknownTrait,
    UnknownResourceClass.
    """
    root = graph.node(tree.root_uuid)
    standing = _standing(root) if root is not None else []
    for each in tree.providers:
        _check_place(graph, tree, root, each)
    declared = {each.uuid for each in tree.providers}
    gone = [node for node in standing if node.uuid not in declared]
    _check_unclaimed(gone, "Declare them, too, or release")
    for node in gone:
        remove(change, node)
    work = _Work(graph, change, root, clock())
    for each in tree.providers:
        work.declare(each)
    outcome = TreeOutcome(
        tree,
        work.generations,
        tuple(work.created),
        tuple(work.updated),
        tuple(node.uuid for node in gone),
        tuple(work.created_names[TRAIT]),
        tuple(work.created_names[RESOURCE_CLASS]),
    )
    if outcome.changed:
        _guard(graph, change, standing)
    return outcome


def declaration(tree: Tree) -> Callable[[Graph, Change], TreeOutcome]:
    """Return the decision that declares this tree."""
    return lambda graph, change: declare_tree(graph, change, tree)


def delete_tree(graph: Graph, change: Change, uuid: str) -> list[str]:
    """Remove a tree that holds no allocations; return the uuids of its providers, none where there is no such tree."""
    root = graph.node(uuid)
    if root is None:
        return []
    if root.root is not root:
        raise ProviderElsewhere(
            f"Resource provider {uuid} is no root: it is in the tree of {root.root.uuid}. Delete that tree, "
            "or declare it without this provider."
        )
    standing = _standing(root)
    _check_unclaimed(standing, "Release first")
    for node in standing:
        remove(change, node)
    _guard(graph, change, standing)
    return [node.uuid for node in standing]


class _Work:
    """Writes what differs into a change."""

    def __init__(self, graph: Graph, change: Change, root: Node | None, now: float) -> None:
        self._graph = graph
        self._change = change
        self._root = root
        self._now = now
        self.generations: dict[str, int] = {}
        self.created: list[str] = []
        self.updated: list[str] = []
        self.created_names: dict[Kind, list[str]] = {TRAIT: [], RESOURCE_CLASS: []}

    def declare(self, wanted: DeclaredProvider) -> None:
        node = self._graph.node(wanted.uuid)
        if node is None:
            self._create(wanted)
        elif _differs(node, wanted):
            self._update(node, wanted)
        else:
            self.generations[node.uuid] = node.generation

    def _create(self, wanted: DeclaredProvider) -> None:
        change, uuid = self._change, wanted.uuid
        self._take_name(wanted)
        self._expect_names(wanted.inventories, wanted.traits)
        self._put_below(wanted)
        document = ProviderDocument(
            uuid=uuid,
            name=wanted.name,
            parent_uuid=wanted.parent_uuid,
            inventories=dict(wanted.inventories),
            traits=wanted.traits,
            aggregates=wanted.aggregates,
            created_at=self._now,
            updated_at=self._now,
        )
        provider = Ref(PROVIDER, uuid)
        change.expect(provider, 0)
        change.put(provider, document)
        self.generations[uuid] = 0
        self.created.append(uuid)

    def _update(self, node: Node, wanted: DeclaredProvider) -> None:
        lost = [name for name in node.inventories if name not in wanted.inventories and node.used.get(name)]
        if lost:
            raise inventory_in_use(self._graph, node, sorted(lost, key=class_order))
        if wanted.name != node.name:
            # Somebody declared before may have taken it already.
            old = Ref(NAME, node.name)
            if old not in self._change.puts:
                self._change.remove(old)
            self._take_name(wanted)
        self._expect_names(
            [name for name in wanted.inventories if name not in node.inventories],
            [name for name in wanted.traits if name not in node.traits],
        )
        if wanted.parent_uuid != node.document.parent_uuid:
            self._put_below(wanted)
        document = msgspec.structs.replace(
            node.document,
            name=wanted.name,
            parent_uuid=wanted.parent_uuid,
            inventories=dict(wanted.inventories),
            traits=wanted.traits,
            aggregates=wanted.aggregates,
            updated_at=self._now,
        )
        self._change.put(Ref(PROVIDER, node.uuid), document)
        self.generations[node.uuid] = touch(self._change, node, bump=True)
        self.updated.append(node.uuid)

    def _take_name(self, wanted: DeclaredProvider) -> None:
        ref = Ref(NAME, wanted.name)
        holder_uuid = self._graph.names.get(wanted.name)
        if holder_uuid is None:
            self._change.expect(ref, 0)
        else:
            # One of this tree gives it up, since no other declared provider has it; its generation guards that.
            holder = self._graph.node(holder_uuid)
            if holder is None or holder.root is not self._root or holder.name != wanted.name:
                raise NameTaken(
                    f"Conflicting resource provider name: {wanted.name} already exists. "
                    f"Provider {holder_uuid} has the name that {wanted.uuid} is to have."
                )
        self._change.put(ref, NameDocument(uuid=wanted.uuid))

    def _put_below(self, wanted: DeclaredProvider) -> None:
        """Mark a parent that stands already as depended upon, so that nobody removes it meanwhile."""
        parent = self._graph.node(wanted.parent_uuid) if wanted.parent_uuid else None
        # One that was updated is marked; it comes before its children.
        if parent is not None and Ref(GENERATION, parent.uuid) not in self._change.puts:
            touch(self._change, parent, bump=False)

    def _expect_names(self, classes: Iterable[str], traits: Iterable[str]) -> None:
        """Depend on the names that a provider newly uses; create the custom ones that are not there."""
        graph = self._graph
        for name in classes:
            # Standard names, which most are, cannot go away.
            if name in CLASS_NAMES:
                continue
            if name in graph.custom_classes or not self._create_custom(RESOURCE_CLASS, name):
                expect_class(graph, self._change, name)
        for name in traits:
            if graph.trait(name) is not None or not self._create_custom(TRAIT, name):
                expect_trait(graph, self._change, name)

    def _create_custom(self, kind: Kind, name: str) -> bool:
        if not _CUSTOM.fullmatch(name):
            return False
        ref = Ref(kind, name)
        if ref not in self._change.puts:
            self._change.expect(ref, 0)
            self._change.put(ref, NamedDocument(created_at=self._now))
            self.created_names[kind].append(name)
        return True


def _standing(root: Node) -> list[Node]:
    """Return a tree's providers, parents first, children in the order of their names."""
    nodes: list[Node] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting.extend(sorted(node.children.values(), key=lambda child: child.name, reverse=True))
    return nodes


def _as_it_stands(node: Node) -> DeclaredProvider:
    return DeclaredProvider(
        uuid=node.uuid,
        name=node.name,
        parent_uuid=node.parent.uuid if node.parent else None,
        inventories=node.inventories,
        traits=tuple(sorted(node.traits)),
        aggregates=tuple(sorted(node.aggregates)),
        generation=node.generation,
    )


def _check_place(graph: Graph, tree: Tree, root: Node | None, wanted: DeclaredProvider) -> None:
    """Make sure that a provider is in no other tree, and at the generation that is asked for."""
    node = graph.node(wanted.uuid)
    if node is root is not None and root.root is not root:
        raise ProviderElsewhere(
            f"Resource provider {wanted.uuid} is no root: it is in the tree of {root.root.uuid}. "
            "Declare that tree, or move it first with PUT /resource_providers/{uuid}."
        )
    if node is not None and node.root is not root:
        raise ProviderElsewhere(
            f"Resource provider {wanted.uuid} is in another tree than {tree.root_uuid}: in that of {node.root.uuid}. "
            "Move it first with PUT /resource_providers/{uuid}, or declare that tree without it."
        )
    if wanted.generation is not None and (node is None or node.generation != wanted.generation):
        found = "does not exist" if node is None else f"is at generation {node.generation}"
        raise GenerationConflict(
            f"Resource provider {wanted.uuid} {found}, but was declared at generation {wanted.generation}. "
            "Read the tree again."
        )


def _check_unclaimed(nodes: Iterable[Node], way_out: str) -> None:
    used = [node for node in nodes if node.consumers]
    if used:
        consumers = set().union(*(node.consumers for node in used))
        raise ProviderInUse(
            f"Unable to delete resource providers that have allocations: {some(node.uuid for node in used)}. "
            f"{way_out} the allocations of consumers: {some(consumers)}"
        )


def _differs(node: Node, wanted: DeclaredProvider) -> bool:
    return (
        node.name != wanted.name
        or node.document.parent_uuid != wanted.parent_uuid
        or node.inventories != wanted.inventories
        or node.traits != frozenset(wanted.traits)
        or node.aggregates != frozenset(wanted.aggregates)
    )


def _guard(graph: Graph, change: Change, standing: Iterable[Node]) -> None:
    """Depend on the whole tree; where that is more than can be compared, on nothing in the graph having changed."""
    for node in standing:
        # Of what is not written its generation is enough: whoever is at it since, but for its removal, writes that.
        change.expect(Ref(GENERATION, node.uuid), node.revision if node.counted else 0)
    if len(change.expected) <= _MOST_COMPARED:
        return
    written = change.puts.keys() | change.removals
    only_seen = [ref for ref in change.expected if ref not in written]
    if only_seen:
        for ref in only_seen:
            del change.expected[ref]
        change.expect(HEAD, graph.head)
