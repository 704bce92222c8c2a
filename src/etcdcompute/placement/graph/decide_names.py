"""Decisions on custom traits and resource classes. Pure.

Whether a name is in use is a question about the whole graph. Removing one is rare, so it simply depends on the head:
nothing at all may change between the look and the removal.
"""

import time
from collections.abc import Callable

from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import HEAD, RESOURCE_CLASS, TRAIT, NamedDocument, Ref
from etcdcompute.placement.graph.errors import (
    NameTaken,
    ResourceClassInUse,
    ResourceClassNotFound,
    StandardName,
    TraitInUse,
    TraitNotFound,
    some,
)
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.standard import is_custom

Clock = Callable[[], float]


def create_trait(graph: Graph, change: Change, name: str, clock: Clock = time.time) -> bool:
    """Make sure that a trait exists; True where it did not."""
    if graph.trait(name) is not None:
        return False
    _create(change, Ref(TRAIT, name), clock)
    return True


def delete_trait(graph: Graph, change: Change, name: str) -> None:
    """Remove a custom trait that no provider has."""
    if graph.trait(name) is None:
        raise TraitNotFound(name)
    if not is_custom(name):
        raise StandardName(f"Cannot delete standard trait {name}.")
    users = graph.by_trait.get(name)
    if users:
        raise TraitInUse(f"The trait {name} is in use by a resource provider. Take it first from: {some(users)}")
    _remove(graph, change, Ref(TRAIT, name), graph.custom_traits[name][1])


def create_resource_class(graph: Graph, change: Change, name: str, clock: Clock = time.time) -> bool:
    """Make sure that a resource class exists; True where it did not."""
    if graph.resource_class(name) is not None:
        return False
    _create(change, Ref(RESOURCE_CLASS, name), clock)
    return True


def rename_resource_class(graph: Graph, change: Change, name: str, new_name: str, clock: Clock = time.time) -> None:
    """Give a custom class that is not in use another name."""
    if graph.resource_class(name) is None:
        raise ResourceClassNotFound(name)
    if not is_custom(name):
        raise StandardName(f"Cannot update standard resource class {name}")
    if graph.resource_class(new_name) is not None:
        raise NameTaken(f"Resource class already exists: {new_name}")
    delete_resource_class(graph, change, name)
    _create(change, Ref(RESOURCE_CLASS, new_name), clock)


def delete_resource_class(graph: Graph, change: Change, name: str) -> None:
    """Remove a custom class that no provider has inventory of."""
    if graph.resource_class(name) is None:
        raise ResourceClassNotFound(name)
    if not is_custom(name):
        raise StandardName(f"Cannot delete standard resource class {name}.")
    users = graph.by_class.get(name)
    if users:
        raise ResourceClassInUse(
            f"Cannot delete resource class {name}. Class is in use in inventory. "
            f"Remove first the inventory of: {some(users)}"
        )
    _remove(graph, change, Ref(RESOURCE_CLASS, name), graph.custom_classes[name][1])


def _create(change: Change, ref: Ref, clock: Clock) -> None:
    change.expect(ref, 0)
    change.put(ref, NamedDocument(created_at=clock()))


def _remove(graph: Graph, change: Change, ref: Ref, revision: int) -> None:
    change.expect(HEAD, graph.head)
    change.expect(ref, revision)
    change.remove(ref)
