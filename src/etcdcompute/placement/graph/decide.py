"""Decisions on providers: from the graph as it is and what is wanted to the change to make. Pure.

A decision notes in the change every document that it depends on. What concerns a provider is guarded by its
generation's document alone: whoever changes the provider, claims from it, or puts a child below it rewrites that. Where
there is none yet, its absence and the provider's own document guard it (`guard`).
"""

import time
from collections.abc import Callable, Collection, Mapping

import msgspec

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import (
    GENERATION,
    NAME,
    PROVIDER,
    RESOURCE_CLASS,
    TRAIT,
    GenerationDocument,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.errors import (
    BadProviderTree,
    GenerationConflict,
    InventoryExists,
    InventoryInUse,
    InventoryNotFound,
    NameTaken,
    ProviderHasChildren,
    ProviderInUse,
    ProviderNotFound,
    UnknownResourceClass,
    UnknownTrait,
    some,
)
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import Inventory, Provider
from etcdcompute.placement.graph.standard import class_order

Clock = Callable[[], float]

# What OpenStack's clients know.
_GENERATION_CHANGED = "Resource provider's generation already changed. Please update the generation and try again."


def existing(graph: Graph, uuid: str) -> Node:
    """Return a provider's node; ProviderNotFound."""
    node = graph.node(uuid)
    if node is None:
        raise ProviderNotFound(uuid)
    return node


def guard(change: Change, node: Node) -> None:
    """Depend on a provider being as it was seen."""
    generation = Ref(GENERATION, node.uuid)
    if node.counted:
        change.expect(generation, node.revision)
    else:
        # As it was created; whoever was at it since has written a generation.
        change.expect(generation, 0)
        change.expect(Ref(PROVIDER, node.uuid), node.revision)


def touch(change: Change, node: Node, *, bump: int) -> int:
    """Guard a provider and mark it as depended upon; return its generation, higher by `bump`."""
    generation = node.generation + bump
    guard(change, node)
    change.put(Ref(GENERATION, node.uuid), GenerationDocument(generation=generation))
    return generation


def remove(change: Change, node: Node) -> None:
    """Remove a provider as it was seen."""
    guard(change, node)
    change.remove(Ref(PROVIDER, node.uuid))
    # Where there is none yet a claim of the same round may be about to write one.
    change.remove(Ref(GENERATION, node.uuid))
    change.remove(Ref(NAME, node.name))


def create_provider(
    graph: Graph, change: Change, uuid: str, name: str, parent_uuid: str | None, clock: Clock = time.time
) -> Provider:
    """Create a provider, at the top or below another."""
    parent = None
    if parent_uuid is not None:
        if parent_uuid == uuid:
            raise BadProviderTree(
                "Object action create failed because: parent provider UUID cannot be same as UUID. "
                "Please set parent provider UUID to None if there is no parent."
            )
        parent = graph.node(parent_uuid)
        if parent is None:
            raise BadProviderTree("Object action create failed because: parent provider UUID does not exist.")
        touch(change, parent, bump=0)
    taken = [f"uuid: {uuid}"] if graph.node(uuid) else []
    if name in graph.names:
        taken.append(f"name: {name}")
    if taken:
        raise NameTaken(f"Conflicting resource provider {', '.join(taken)} already exists.")
    now = clock()
    document = ProviderDocument(uuid=uuid, name=name, parent_uuid=parent_uuid, created_at=now, updated_at=now)
    change.expect(Ref(PROVIDER, uuid), 0)
    change.expect(Ref(NAME, name), 0)
    change.put(Ref(PROVIDER, uuid), document)
    change.put(Ref(NAME, name), NameDocument(uuid=uuid))
    return _as_changed(document, 0, parent.root.uuid if parent else uuid, {})


def update_provider(
    graph: Graph,
    change: Change,
    uuid: str,
    name: str,
    parent_uuid: str | None,
    *,
    move: bool,
    reparent: bool,
    clock: Clock = time.time,
) -> Provider:
    """Rename a provider, and with `move` put it below another (or at the top)."""
    node = existing(graph, uuid)
    document = msgspec.structs.replace(node.document, name=name, updated_at=clock())
    root_uuid = node.root.uuid
    if move and parent_uuid != node.document.parent_uuid:
        parent = _new_parent(graph, node, parent_uuid, reparent=reparent)
        # Two moves that together would close a loop both touch a provider of the other's line.
        above = parent
        while above is not None:
            touch(change, above, bump=0)
            above = above.parent
        document = msgspec.structs.replace(document, parent_uuid=parent_uuid)
        root_uuid = parent.root.uuid if parent else uuid
    if name != node.name:
        if name in graph.names:
            raise NameTaken(f"Conflicting resource provider {name} already exists.")
        change.expect(Ref(NAME, name), 0)
        change.put(Ref(NAME, name), NameDocument(uuid=uuid))
        change.remove(Ref(NAME, node.name))
    generation = touch(change, node, bump=0)
    change.put(Ref(PROVIDER, uuid), document)
    return _as_changed(document, generation, root_uuid, node.used)


def _new_parent(graph: Graph, node: Node, parent_uuid: str | None, *, reparent: bool) -> Node | None:
    if parent_uuid is None:
        if not reparent:
            raise BadProviderTree(
                "Object action update failed because: un-parenting a provider is not currently allowed."
            )
        return None
    parent = graph.node(parent_uuid)
    if parent is None:
        raise BadProviderTree("Object action create failed because: parent provider UUID does not exist.")
    if node.parent is not None and not reparent:
        raise BadProviderTree("Object action update failed because: re-parenting a provider is not currently allowed.")
    if any(each is parent for each in node.tree()):
        raise BadProviderTree("Object action update failed because: creating loop in the provider tree is not allowed.")
    return parent


def delete_provider(graph: Graph, change: Change, uuid: str) -> None:
    """Remove a provider that has neither children nor allocations."""
    node = existing(graph, uuid)
    if node.children:
        raise ProviderHasChildren(
            f"Unable to delete parent resource provider {uuid}: It has child resource providers. "
            f"Delete first: {some(child.uuid for child in node.children.values())}"
        )
    if node.consumers:
        raise ProviderInUse(
            f"Unable to delete resource provider {uuid}: Resource provider has allocations. "
            f"Release first the allocations of consumers: {some(node.consumers)}"
        )
    remove(change, node)


def set_inventories(
    graph: Graph,
    change: Change,
    uuid: str,
    inventories: Mapping[str, Inventory],
    generation: int | None,
    clock: Clock = time.time,
) -> Provider:
    """Replace all inventories of a provider."""
    node = existing(graph, uuid)
    _check_generation(node, generation, "resource provider generation conflict")
    for name in inventories:
        expect_class(graph, change, name)
    gone = [name for name in node.inventories if name not in inventories and node.used.get(name)]
    if gone:
        raise inventory_in_use(graph, node, sorted(gone, key=class_order))
    return change_document(change, node, clock, inventories=dict(sorted(inventories.items())))


def add_inventory(
    graph: Graph,
    change: Change,
    uuid: str,
    resource_class: str,
    inventory: Inventory,
    clock: Clock = time.time,
) -> Provider:
    """Add one inventory."""
    node = existing(graph, uuid)
    expect_class(graph, change, resource_class)
    if resource_class in node.inventories:
        raise InventoryExists(f"resource provider {uuid} has inventory of {resource_class} already")
    inventories = dict(sorted({**node.inventories, resource_class: inventory}.items()))
    return change_document(change, node, clock, inventories=inventories)


def update_inventory(
    graph: Graph,
    change: Change,
    uuid: str,
    resource_class: str,
    inventory: Inventory,
    generation: int,
    clock: Clock = time.time,
) -> Provider:
    """Replace one inventory."""
    node = existing(graph, uuid)
    _check_generation(node, generation, "resource provider generation conflict")
    expect_class(graph, change, resource_class)
    if resource_class not in node.inventories:
        raise InventoryNotFound(f"No inventory of class {resource_class} found.")
    inventories = {**node.inventories, resource_class: inventory}
    return change_document(change, node, clock, inventories=inventories)


def delete_inventory(graph: Graph, change: Change, uuid: str, resource_class: str, clock: Clock = time.time) -> None:
    """Remove one inventory that nobody has claimed from."""
    node = existing(graph, uuid)
    if resource_class not in node.inventories:
        raise InventoryNotFound(f"No inventory of class {resource_class} found for delete")
    if node.used.get(resource_class):
        raise inventory_in_use(graph, node, [resource_class])
    left = {name: each for name, each in node.inventories.items() if name != resource_class}
    change_document(change, node, clock, inventories=left)


def set_traits(
    graph: Graph,
    change: Change,
    uuid: str,
    traits: Collection[str],
    generation: int | None,
    clock: Clock = time.time,
) -> Provider:
    """Replace a provider's traits."""
    node = existing(graph, uuid)
    _check_generation(node, generation, _GENERATION_CHANGED)
    unknown = [name for name in traits if graph.trait(name) is None]
    if unknown:
        raise UnknownTrait(unknown)
    if node.traits == frozenset(traits):
        return node.record()
    for name in traits:
        expect_trait(graph, change, name)
    return change_document(change, node, clock, traits=tuple(sorted(set(traits))))


def set_aggregates(
    graph: Graph,
    change: Change,
    uuid: str,
    aggregates: Collection[str],
    generation: int | None,
    clock: Clock = time.time,
) -> Provider:
    """Replace a provider's aggregates."""
    node = existing(graph, uuid)
    _check_generation(node, generation, _GENERATION_CHANGED)
    return change_document(
        change, node, clock, bump=int(generation is not None), aggregates=tuple(sorted(set(aggregates)))
    )


def expect_class(graph: Graph, change: Change, name: str) -> None:
    """Make sure that a resource class exists, and go on existing until the change is made."""
    custom = graph.custom_classes.get(name)
    if custom is not None:
        change.expect(Ref(RESOURCE_CLASS, name), custom[1])
    elif graph.resource_class(name) is None:
        raise UnknownResourceClass(f"No such resource class {name}.")


def expect_trait(graph: Graph, change: Change, name: str) -> None:
    """Make sure that a trait exists, and go on existing until the change is made."""
    if graph.trait(name) is None:
        raise UnknownTrait([name])
    if name in graph.custom_traits:
        change.expect(Ref(TRAIT, name), graph.custom_traits[name][1])


def _check_generation(node: Node, generation: int | None, message: str) -> None:
    if generation is not None and generation != node.generation:
        raise GenerationConflict(message)


def inventory_in_use(graph: Graph, node: Node, classes: list[str]) -> InventoryInUse:
    """Return the refusal to remove inventories of a provider, which says who has claimed from them."""
    users = {
        consumer
        for consumer in node.consumers
        if not graph.consumers[consumer].document.allocations[node.uuid].keys().isdisjoint(classes)
    }
    way_out = f"Release first the allocations of consumers: {some(users)}" if users else "The request itself claims it."
    return InventoryInUse(f"Inventory for '{', '.join(classes)}' on resource provider '{node.uuid}' in use. {way_out}")


def change_document(change: Change, node: Node, clock: Clock, *, bump: int = 1, **fields: object) -> Provider:
    """Change fields of a provider's document; return the provider as it will be."""
    document = msgspec.structs.replace(node.document, updated_at=clock(), **fields)
    generation = touch(change, node, bump=bump)
    change.put(Ref(PROVIDER, node.uuid), document)
    return _as_changed(document, generation, node.root.uuid, node.used)


def _as_changed(document: ProviderDocument, generation: int, root_uuid: str, used: Mapping[str, int]) -> Provider:
    """Return the provider as it will be once the change is made."""
    return Provider(
        uuid=document.uuid,
        name=document.name,
        generation=generation,
        parent_uuid=document.parent_uuid,
        root_uuid=root_uuid,
        inventories=document.inventories,
        traits=frozenset(document.traits),
        aggregates=frozenset(document.aggregates),
        used={name: used.get(name, 0) for name in document.inventories},
        updated_at=document.updated_at,
    )
