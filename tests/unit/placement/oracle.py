"""Allocation candidates by brute force: every assignment of every group to any provider, checked rule by rule.

Slow and simple on purpose, and written from the rules, not from the search:

- a candidate hangs on the root of one tree and uses providers of that tree, or providers with the sharing trait that
  have an aggregate in common with some member of the tree;
- a group with a suffix is satisfied by one provider, in everything; the group without by any number, one per class;
- amounts that fall together must fit together.
"""

from collections.abc import Iterator
from itertools import product

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.graph.memory import Graph, Node

Candidate = tuple[frozenset[tuple[str, str, int]], frozenset[tuple[str, tuple[str, ...]]]]


def brute_force(graph: Graph, request: CandidateRequest, root: str | None = None) -> set[Candidate]:
    """Return all candidates, or those of one tree: what is claimed, and which group comes from where."""
    found = set()
    for anchor in graph.all_nodes():
        if anchor.parent is None and _anchor_allowed(anchor, request) and root in (None, anchor.uuid):
            for assignment in _assignments(graph, anchor, request):
                if _allowed(assignment, anchor, request):
                    found.add(_candidate(assignment))
    return found


def anchors_with_candidates(graph: Graph, request: CandidateRequest) -> set[str]:
    """Return the roots of the trees that a candidate can hang on."""
    return {
        anchor.uuid
        for anchor in graph.all_nodes()
        if anchor.parent is None
        and _anchor_allowed(anchor, request)
        and any(_allowed(assignment, anchor, request) for assignment in _assignments(graph, anchor, request))
    }


Assignment = list[tuple[RequestGroup, dict[str, int], Node]]


def _anchor_allowed(anchor: Node, request: CandidateRequest) -> bool:
    return request.root_required <= anchor.traits and not request.root_forbidden & anchor.traits


def _assignments(graph: Graph, anchor: Node, request: CandidateRequest) -> Iterator[Assignment]:
    parts: list[tuple[RequestGroup, dict[str, int]]] = []
    for group in request.groups:
        if group.suffix:
            parts.append((group, dict(group.resources)))
        else:
            parts.extend((group, {name: amount}) for name, amount in group.resources.items())
    reachable = [node for node in graph.all_nodes() if _reaches(anchor, node)]
    # What one provider cannot give alone is left out here, for speed; `_allowed` has all rules.
    able = [
        [node for node in reachable if _fits(node, resources) and _in_group(group, node, anchor)]
        for group, resources in parts
    ]
    for nodes in product(*able):
        yield [(group, resources, node) for (group, resources), node in zip(parts, nodes, strict=True)]


def _reaches(anchor: Node, node: Node) -> bool:
    if node.root is anchor:
        return True
    spanned = {aggregate for member in anchor.tree() for aggregate in member.aggregates}
    return node.shares and bool(spanned & node.aggregates)


def _allowed(assignment: Assignment, anchor: Node, request: CandidateRequest) -> bool:
    return (
        all(_fits(node, resources) for _, resources, node in assignment)
        and all(_in_group(group, node, anchor) for group, _, node in assignment)
        and all(_traits_of(group, assignment) for group in request.groups)
        and _fit_together(assignment)
        and _apart(assignment, request)
        and all(_subtree(suffixes, assignment) for suffixes in request.same_subtrees)
        and (request.nested or _one_per_tree(assignment))
    )


def _fits(node: Node, resources: dict[str, int]) -> bool:
    for name, amount in resources.items():
        inventory = node.inventories.get(name)
        if inventory is None or node.used.get(name, 0) + amount > inventory.capacity:
            return False
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            return False
    return True


def _in_group(group: RequestGroup, node: Node, anchor: Node) -> bool:
    if group.forbidden_traits & node.traits:
        return False
    if group.in_tree is not None:
        wanted = group.in_tree
        if wanted not in {member.uuid for member in node.root.tree()}:
            return False
        if not group.suffix and node.root is not anchor:
            return False
    spanning = {node.uuid: node} if group.suffix or node.root is not anchor else {node.uuid: node, anchor.uuid: anchor}
    if group.member_of and not any(
        all(alternatives & each.aggregates for alternatives in group.member_of) for each in spanning.values()
    ):
        return False
    unwanted = {node.uuid: node} if group.suffix else {node.uuid: node, anchor.uuid: anchor}
    return not any(group.forbidden_aggregates & each.aggregates for each in unwanted.values())


def _traits_of(group: RequestGroup, assignment: Assignment) -> bool:
    traits = {name for mine, _, node in assignment if mine is group for name in node.traits}
    return all(alternatives & traits for alternatives in group.required_traits)


def _fit_together(assignment: Assignment) -> bool:
    totals: dict[tuple[str, str], int] = {}
    for _, resources, node in assignment:
        for name, amount in resources.items():
            key = node.uuid, name
            totals[key] = totals.get(key, 0) + amount
            inventory = node.inventories[name]
            if node.used.get(name, 0) + totals[key] > inventory.capacity or totals[key] > inventory.max_unit:
                return False
    return True


def _apart(assignment: Assignment, request: CandidateRequest) -> bool:
    if not request.isolate:
        return True
    alone = [node.uuid for group, _, node in assignment if group.suffix]
    return len(alone) == len(set(alone))


def _subtree(suffixes: frozenset[str], assignment: Assignment) -> bool:
    nodes = [node for group, _, node in assignment if group.suffix in suffixes]
    return any(all(_is_below(node, top) for node in nodes) for top in nodes)


def _is_below(node: Node | None, top: Node) -> bool:
    while node is not None:
        if node is top:
            return True
        node = node.parent
    return False


def _one_per_tree(assignment: Assignment) -> bool:
    used = {node.uuid: node for _, resources, node in assignment if resources}
    return len({node.root.uuid for node in used.values()}) == len(used)


def _candidate(assignment: Assignment) -> Candidate:
    totals: dict[tuple[str, str], int] = {}
    mappings: dict[str, set[str]] = {}
    for group, resources, node in assignment:
        mappings.setdefault(group.suffix, set()).add(node.uuid)
        for name, amount in resources.items():
            totals[node.uuid, name] = totals.get((node.uuid, name), 0) + amount
    return (
        frozenset((uuid, name, amount) for (uuid, name), amount in totals.items()),
        frozenset((suffix, tuple(sorted(uuids))) for suffix, uuids in mappings.items()),
    )
