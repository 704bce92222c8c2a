"""What a single provider has to be for a request group: the predicates that the search and its explanation share."""

from etcdcompute.placement.candidates.request import RequestGroup
from etcdcompute.placement.candidates.topology import Member


def fits(node: Member, name: str, amount: int) -> bool:
    """Whether a provider has an amount of a class free, and gives it in such portions."""
    inventory = node.inventories.get(name)
    return (
        inventory is not None and node.used.get(name, 0) + amount <= node.capacities[name] and inventory.admits(amount)
    )


def in_aggregates(node: Member, group: RequestGroup) -> bool:
    """Whether a provider is in one of each of the group's alternatives."""
    return all(not node.aggregates.isdisjoint(alternatives) for alternatives in group.member_of)


def has_traits(traits: frozenset[str], group: RequestGroup) -> bool:
    """Whether traits hold one of each of the group's alternatives."""
    return all(not traits.isdisjoint(alternatives) for alternatives in group.required_traits)


def usable(node: Member, group: RequestGroup) -> bool:
    """Whether nothing that the group forbids is on a provider itself."""
    return node.traits.isdisjoint(group.forbidden_traits) and node.aggregates.isdisjoint(group.forbidden_aggregates)


def suits(node: Member, group: RequestGroup) -> bool:
    """Whether a provider by itself has what the group wants besides resources."""
    return usable(node, group) and has_traits(node.traits, group) and in_aggregates(node, group)
