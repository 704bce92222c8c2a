"""The search against brute force on random deployments, and the cases that people get wrong."""

from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdcompute.placement.candidates.request import AllocationRequest, CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph.records import Inventory
from tests.unit.placement.deployment import SHARES, Host, graph_of
from tests.unit.placement.oracle import Candidate, brute_force

CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB"]
TRAITS = ["CUSTOM_A", "CUSTOM_B", "CUSTOM_C"]
AGGREGATES = ["agg1", "agg2", "agg3"]


def as_set(requests: Iterable[AllocationRequest]) -> list[Candidate]:
    return [
        (
            frozenset((uuid, name, n) for uuid, resources in each.allocations.items() for name, n in resources.items()),
            frozenset(each.mappings.items()),
        )
        for each in requests
    ]


inventories = st.builds(
    Inventory,
    total=st.integers(3, 8),
    reserved=st.integers(0, 1),
    min_unit=st.sampled_from([1, 1, 1, 1, 1, 2]),
    max_unit=st.sampled_from([100, 100, 100, 3, 1]),
    step_size=st.sampled_from([1, 1, 1, 1, 1, 2]),
    allocation_ratio=st.sampled_from([1.0, 1.5]),
)
some_traits = st.frozensets(st.sampled_from(TRAITS), max_size=2)
some_aggregates = st.sampled_from([[], ["agg1"], ["agg1"], ["agg1", "agg2"], ["agg3"]]).map(frozenset)


@st.composite
def deployments(draw: st.DrawFn) -> list[Host]:
    hosts: list[Host] = []
    for number in range(draw(st.integers(2, 5))):
        held = draw(st.dictionaries(st.sampled_from(CLASSES), inventories, min_size=1, max_size=3))
        used = {name: draw(st.sampled_from([0, 0, 1, 2])) for name in held}
        parent = draw(st.sampled_from([None, None, *(host.name for host in hosts)]))
        shares = draw(st.sampled_from([frozenset(), frozenset({SHARES})]))
        hosts.append(
            Host(
                name=f"rp{number}",
                parent=parent,
                inventories=held,
                used={name: amount for name, amount in used.items() if amount},
                traits=draw(some_traits) | shares,
                aggregates=draw(some_aggregates),
            )
        )
    return hosts


@st.composite
def groups(draw: st.DrawFn, suffix: str, names: list[str], *, bare: bool = False) -> RequestGroup:
    rarely = st.sampled_from([False] * 7 + [True])
    alternatives = st.frozensets(st.sampled_from(TRAITS), min_size=1, max_size=2)
    members = st.frozensets(st.sampled_from(AGGREGATES), min_size=1, max_size=2)
    amounts = st.dictionaries(
        st.sampled_from(CLASSES), st.sampled_from([1, 1, 2]), min_size=1, max_size=1 if suffix else 3
    )
    return RequestGroup(
        suffix=suffix,
        resources={} if bare else draw(amounts),
        required_traits=tuple(draw(st.lists(alternatives, min_size=1, max_size=2))) if bare or draw(rarely) else (),
        forbidden_traits=draw(some_traits) if draw(rarely) else frozenset(),
        member_of=(draw(members),) if draw(rarely) else (),
        forbidden_aggregates=draw(members) if draw(rarely) else frozenset(),
        in_tree=draw(st.sampled_from(names)) if draw(rarely) else None,
    )


SUFFIXES = [[""], ["", "1"], ["1", "2"], ["", "1", "2"], ["1"], ["1", "2", "3"], ["1", "2", "3", "4"]]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Host], CandidateRequest]:
    hosts = draw(deployments())
    names = [host.name for host in hosts]
    suffixes = draw(st.sampled_from(SUFFIXES))
    named = [suffix for suffix in suffixes if suffix]
    subtrees = draw(st.lists(st.frozensets(st.sampled_from(named), min_size=2), max_size=2)) if len(named) > 1 else []
    # The API lets only groups in a subtree be without resources.
    bare = draw(st.sampled_from([None, *sorted(frozenset().union(*subtrees))])) if len(suffixes) > 1 else None
    request = CandidateRequest(
        groups=tuple(draw(groups(suffix, names, bare=suffix == bare)) for suffix in suffixes),
        isolate=draw(st.booleans()),
        same_subtrees=tuple(subtrees),
        root_required=draw(st.sampled_from([frozenset()] * 7 + [frozenset({"CUSTOM_A"})])),
        root_forbidden=draw(st.sampled_from([frozenset()] * 7 + [frozenset({"CUSTOM_B"})])),
        nested=draw(st.sampled_from([True, True, True, False])),
    )
    return hosts, request


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_search_finds_what_brute_force_finds(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    found = as_set(find_candidates(graph, request).requests)
    assert len(found) == len(set(found)), "a candidate comes twice"
    assert set(found) == brute_force(graph, request)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_a_tree_of_one_is_a_tree(case: tuple[list[Host], CandidateRequest]) -> None:
    """Providers without children have a search of their own: an empty child takes it from them, and nothing else."""
    hosts, request = case
    children = [Host(f"below-{host.name}", parent=host.name) for host in hosts if host.parent is None]
    alone, trees = find_candidates(graph_of(*hosts), request), find_candidates(graph_of(*hosts, *children), request)
    assert set(as_set(alone.requests)) == set(as_set(trees.requests))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.integers(1, 4))
def test_a_limit_cuts_and_summaries_cover(case: tuple[list[Host], CandidateRequest], limit: int) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    every = find_candidates(graph, request).requests
    limited = find_candidates(graph, CandidateRequest(**{**_fields(request), "limit": limit}))
    assert list(limited.requests) == every[:limit]
    used = {uuid for each in limited.requests for uuid in each.allocations}
    shown = {summary.uuid for summary in limited.summaries}
    assert used <= shown
    if request.nested:
        roots = {graph.providers[uuid].root for uuid in used}
        assert shown == {member.uuid for root in roots for member in root.tree()}
    else:
        assert shown == used


def _fields(request: CandidateRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in CandidateRequest.__slots__}


def ask(*groups: RequestGroup, **rest: Any) -> CandidateRequest:
    return CandidateRequest(groups=groups, **rest)


def placed(graph: Any, request: CandidateRequest) -> list[dict[str, dict[str, int]]]:
    return [
        {uuid: dict(r) for uuid, r in each.allocations.items()} for each in find_candidates(graph, request).requests
    ]


def compute(name: str, disk: int | None = None, **more: Any) -> Host:
    held = {"VCPU": Inventory(4), "MEMORY_MB": Inventory(4096)}
    if disk is not None:
        held["DISK_GB"] = Inventory(disk)
    return Host(name, inventories=held, **more)


def test_another_hosts_local_disk_is_never_a_candidate() -> None:
    storage = frozenset({"agg1"})
    graph = graph_of(
        compute("with-disk", disk=100, aggregates=storage),
        compute("without", aggregates=storage),
        Host("nfs", inventories={"DISK_GB": Inventory(1000)}, traits=frozenset({SHARES}), aggregates=storage),
    )
    found = placed(graph, ask(RequestGroup(resources={"VCPU": 1, "DISK_GB": 10})))
    assert {frozenset(each) for each in found} == {
        frozenset({"with-disk"}),
        frozenset({"with-disk", "nfs"}),
        frozenset({"without", "nfs"}),
    }
    assert len(found) == 3


def test_sharing_needs_the_trait_and_an_aggregate_in_common() -> None:
    disk = {"DISK_GB": Inventory(1000)}
    shares = frozenset({SHARES})
    graph = graph_of(
        compute("host", aggregates=frozenset({"agg1"})),
        Host("no-trait", inventories=disk, aggregates=frozenset({"agg1"})),
        Host("elsewhere", inventories=disk, traits=shares, aggregates=frozenset({"agg2"})),
    )
    assert placed(graph, ask(RequestGroup(resources={"VCPU": 1, "DISK_GB": 10}))) == []


def test_sharing_reaches_a_tree_through_any_member() -> None:
    graph = graph_of(
        compute("root"),
        Host("child", parent="root", aggregates=frozenset({"agg1"})),
        Host(
            "nfs",
            inventories={"DISK_GB": Inventory(10)},
            traits=frozenset({SHARES}),
            aggregates=frozenset({"agg1"}),
        ),
    )
    found = placed(graph, ask(RequestGroup(resources={"VCPU": 1, "DISK_GB": 10})))
    assert found == [{"root": {"VCPU": 1}, "nfs": {"DISK_GB": 10}}]


def numa(name: str, *, children: int = 2, each: int = 4) -> list[Host]:
    below = [
        Host(f"{name}-numa{number}", parent=name, inventories={"VCPU": Inventory(each)}) for number in range(children)
    ]
    return [Host(name, inventories={"DISK_GB": Inventory(100)}), *below]


def test_one_class_is_not_spread_over_providers() -> None:
    graph = graph_of(*numa("host"))
    assert placed(graph, ask(RequestGroup(resources={"VCPU": 5}))) == []
    assert len(placed(graph, ask(RequestGroup(resources={"VCPU": 4, "DISK_GB": 1})))) == 2


def test_groups_fall_together_or_apart() -> None:
    graph = graph_of(*numa("host"))
    one, two = (RequestGroup(suffix=suffix, resources={"VCPU": 3}) for suffix in "12")
    together = placed(graph, ask(one, two))
    assert {frozenset(each) for each in together} == {frozenset({"host-numa0", "host-numa1"})}
    small = [RequestGroup(suffix=suffix, resources={"VCPU": 2}) for suffix in "12"]
    assert {"host-numa0": {"VCPU": 4}} in placed(graph, ask(*small))
    assert all(len(each) == 2 for each in placed(graph, ask(*small, isolate=True)))
