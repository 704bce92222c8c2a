"""Questions to the graph in memory other than candidates. Pure; callers hold the graph still."""

from collections.abc import Collection, Iterable, Mapping

from etcdcompute.placement.graph import standard
from etcdcompute.placement.graph.errors import (
    ResourceClassNotFound,
    TraitNotFound,
    UnknownResourceClass,
    UnknownTrait,
)
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import ConsumerUsage, Named, ProviderFilter


def check_names(graph: Graph, classes: Collection[str], traits: Collection[str]) -> None:
    """Make sure that classes and traits exist."""
    for name in sorted(classes):
        if graph.resource_class(name) is None:
            raise UnknownResourceClass(f"No such resource class {name}.")
    unknown = [name for name in traits if graph.trait(name) is None]
    if unknown:
        raise UnknownTrait(unknown)


def unknown_names(graph: Graph, classes: Collection[str], traits: Collection[str]) -> frozenset[str]:
    """Return those of the classes and traits that do not exist."""
    return frozenset(
        [name for name in classes if graph.resource_class(name) is None]
        + [name for name in traits if graph.trait(name) is None]
    )


def list_providers(graph: Graph, wanted: ProviderFilter) -> list[Node]:
    """Return the providers that match, in the order of their uuids."""
    named = set(wanted.forbidden_traits).union(*wanted.required_traits)
    check_names(graph, wanted.resources or (), named)
    nodes: Iterable[Node] = graph.all_nodes()
    if wanted.uuid is not None:
        nodes = _one(graph.node(wanted.uuid))
    elif wanted.name is not None:
        nodes = _one(graph.node(graph.names.get(wanted.name, "")))
    elif wanted.in_tree is not None:
        member = graph.node(wanted.in_tree)
        nodes = member.root.tree() if member else ()
    return sorted((node for node in nodes if _matches(graph, node, wanted)), key=lambda node: node.uuid)


def _one(node: Node | None) -> tuple[Node, ...]:
    return (node,) if node else ()


def _matches(graph: Graph, node: Node, wanted: ProviderFilter) -> bool:
    if wanted.name is not None and node.name != wanted.name:
        return False
    if wanted.in_tree is not None:
        member = graph.node(wanted.in_tree)
        if member is None or node.root is not member.root:
            return False
    if not node.traits.isdisjoint(wanted.forbidden_traits):
        return False
    if not node.aggregates.isdisjoint(wanted.forbidden_aggregates):
        return False
    return (
        all(not node.traits.isdisjoint(alternatives) for alternatives in wanted.required_traits)
        and all(not node.aggregates.isdisjoint(alternatives) for alternatives in wanted.member_of)
        and all(_has_free(node, name, amount) for name, amount in (wanted.resources or {}).items())
    )


def _has_free(node: Node, name: str, amount: int) -> bool:
    inventory = node.inventories.get(name)
    return (
        inventory is not None and inventory.admits(amount) and node.used.get(name, 0) + amount <= node.capacities[name]
    )


def generations(graph: Graph, uuids: Iterable[str]) -> dict[str, int]:
    """Return the generations of those of the providers that exist."""
    nodes = [graph.node(uuid) for uuid in uuids]
    return {node.uuid: node.generation for node in nodes if node is not None}


def list_usages(graph: Graph, project_id: str, user_id: str | None, consumer_type: str | None) -> list[ConsumerUsage]:
    """Return a project's use, one entry per consumer type, or one in all for the type "all"."""
    counts: dict[str, int] = {}
    sums: dict[str, dict[str, int]] = {}
    for each in graph.by_project.get(project_id, ()):
        document = graph.consumers[each].document
        if user_id is not None and document.user_id != user_id:
            continue
        kind = document.consumer_type or "unknown"
        if consumer_type == "all":
            kind = "all"
        elif consumer_type is not None and consumer_type != kind:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        total = sums.setdefault(kind, {})
        for resources in document.allocations.values():
            for name, amount in resources.items():
                total[name] = total.get(name, 0) + amount
    return [ConsumerUsage(kind, counts[kind], sums[kind]) for kind in sorted(counts)]


def get_trait(graph: Graph, name: str) -> Named:
    """Return a trait; TraitNotFound."""
    found = graph.trait(name)
    if found is None:
        raise TraitNotFound(name)
    return found


def list_traits(
    custom: Mapping[str, float],
    in_use: Collection[str],
    names: Collection[str] | None,
    prefix: str | None,
    associated: bool | None,
) -> list[Named]:
    """Return traits by name; `custom` has the custom ones' times of creation, `in_use` what providers have."""
    known: Iterable[str] = standard.TRAITS | custom.keys()
    if names is not None:
        known = set(known) & set(names)
    if prefix is not None:
        known = [name for name in known if name.startswith(prefix)]
    if associated is not None:
        known = [name for name in known if (name in in_use) == associated]
    return [Named(name, custom.get(name)) for name in sorted(known)]


def get_resource_class(graph: Graph, name: str) -> Named:
    """Return a resource class; ResourceClassNotFound."""
    found = graph.resource_class(name)
    if found is None:
        raise ResourceClassNotFound(name)
    return found


def list_resource_classes(custom: Mapping[str, float]) -> list[Named]:
    """Return the standard classes in their order, then the custom ones, which come with the times of creation."""
    return [Named(name, custom.get(name)) for name in (*standard.RESOURCE_CLASSES, *sorted(custom))]
