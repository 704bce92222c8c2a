"""The search against brute force on random deployments, and the cases that people get wrong."""

from collections.abc import Iterable
from typing import Any

import pytest
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


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Host], CandidateRequest]:
    """Draw one tree with little room, and a request whose slots are in each other's way."""
    held = st.fixed_dictionaries(
        {"VCPU": st.integers(1, 6).map(Inventory), "DISK_GB": st.integers(1, 3).map(Inventory)}
    )
    traits = st.frozensets(st.sampled_from(TRAITS), max_size=2)
    hosts = [Host("root")]
    for number in range(draw(st.integers(2, 4))):
        above = draw(st.sampled_from(["root", "root", hosts[-1].name]))
        hosts.append(Host(f"rp{number}", above, draw(held), traits=draw(traits)))
    sizes = st.sampled_from([1, 1, 2, 3])
    both = st.fixed_dictionaries({"VCPU": sizes, "DISK_GB": sizes})
    wanted = st.one_of(both, st.fixed_dictionaries({"VCPU": sizes}))
    trait = st.sampled_from([(), (), (), *((frozenset({name}),) for name in TRAITS)])
    asked = [
        RequestGroup(str(number), draw(wanted), required_traits=draw(trait))
        for number in range(draw(st.integers(1, 4)))
    ]
    if draw(st.booleans()):
        alternatives = st.frozensets(st.sampled_from(TRAITS), min_size=1, max_size=2)
        asked.insert(0, RequestGroup("", draw(both), required_traits=tuple(draw(st.lists(alternatives, max_size=2)))))
    numbers = [group.suffix for group in asked if group.suffix]
    subtrees = draw(st.lists(st.frozensets(st.sampled_from(numbers), min_size=2), max_size=2)) if numbers[1:] else []
    return hosts, CandidateRequest(
        tuple(asked),
        isolate=draw(st.booleans()),
        same_subtrees=tuple(subtrees),
        nested=draw(st.sampled_from([True, True, False])),
    )


@st.composite
def packings(draw: st.DrawFn) -> tuple[list[Host], CandidateRequest]:
    """Draw a few devices, mostly alike, and groups of many sizes that nearly fill them."""
    units = draw(st.integers(4, 7))
    hosts = [
        Host(
            f"device{number}",
            "root",
            {"VCPU": Inventory(draw(st.sampled_from([units, units, units + 1]))), "DISK_GB": Inventory(1)},
            traits=draw(st.frozensets(st.sampled_from(TRAITS))),
        )
        for number in range(3)
    ]
    left = sum(host.inventories["VCPU"].total for host in hosts)
    a, b, c = (frozenset({name}) for name in TRAITS)
    asked: list[RequestGroup] = []
    if draw(st.booleans()):
        left -= 2
        spread = draw(st.sampled_from([(), (a,), (a, b), (a, b, c)]))
        asked.append(RequestGroup("", {"VCPU": 2, "DISK_GB": 1}, required_traits=spread))
    while len(asked) < 6 and left >= 2:
        amount = draw(st.integers(2, min(4, left)))
        left -= amount
        trait = draw(st.sampled_from([(), (), (), (a,), (b,), (c,)]))
        asked.append(RequestGroup(str(len(asked)), {"VCPU": amount}, required_traits=trait))
    return [Host("root"), *hosts], CandidateRequest(tuple(asked))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowds() | packings())
def test_slots_in_each_others_way_are_filled_in_all_ways_there_are(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    found = as_set(find_candidates(graph, request).requests)
    assert len(found) == len(set(found)), "a candidate comes twice"
    assert set(found) == brute_force(graph, request)


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


def test_what_several_hosts_can_have_of_others_alone_is_one_candidate() -> None:
    disk, shares = {"DISK_GB": Inventory(10)}, frozenset({SHARES})
    graph = graph_of(
        compute("near-one", aggregates=frozenset({"agg1"})),
        compute("near-both", aggregates=frozenset({"agg1", "agg2"})),
        Host("nfs1", inventories=disk, traits=shares, aggregates=frozenset({"agg1"})),
        Host("nfs2", inventories=disk, traits=shares, aggregates=frozenset({"agg2"})),
    )
    found = placed(graph, ask(RequestGroup(resources={"DISK_GB": 10})))
    assert sorted(map(str, found)) == ["{'nfs1': {'DISK_GB': 10}}", "{'nfs2': {'DISK_GB': 10}}"]


def test_a_tree_asked_for_is_the_only_one() -> None:
    trait = frozenset({"CUSTOM_A"})
    graph = graph_of(*numa("wanted"), *numa("other"), compute("other-gpu", parent="other", traits=trait))
    rest = RequestGroup("1", {"VCPU": 1}, required_traits=(trait,))
    # The only one with the trait is looked at first: it is in another tree.
    assert placed(graph, ask(RequestGroup(resources={"VCPU": 1}, in_tree="wanted"), rest)) == []
    assert len(placed(graph, ask(RequestGroup(resources={"VCPU": 1}, in_tree="other"), rest))) == 3


@pytest.mark.parametrize(
    "wanted",
    [
        {"required_traits": (frozenset({"CUSTOM_A"}),)},
        {"member_of": (frozenset({"agg2"}),)},
        {"in_tree": "nfs"},
    ],
)
def test_hosts_are_found_through_what_is_shared_with_them(wanted: dict[str, Any]) -> None:
    graph = graph_of(
        *(compute(f"far{number}", disk=100) for number in range(9)),
        *(compute(f"near{number}", disk=100, aggregates=frozenset({"agg1"})) for number in range(2)),
        Host(
            "nfs",
            inventories={"DISK_GB": Inventory(100)},
            traits=frozenset({SHARES, "CUSTOM_A"}),
            aggregates=frozenset({"agg1", "agg2"}),
        ),
    )
    found = placed(graph, ask(RequestGroup(resources={"VCPU": 1}), RequestGroup("1", {"DISK_GB": 1}, **wanted)))
    assert sorted(found, key=str) == [{f"near{number}": {"VCPU": 1}, "nfs": {"DISK_GB": 1}} for number in range(2)]


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


# Three cases in which the first provider that is tried leads nowhere, and the second one, which is like it but for one
# thing, does.


def test_a_dead_end_says_nothing_of_a_provider_that_others_want() -> None:
    units = {"A": 3, "B": 3, "C": 2, "D": 9, "E": 9}
    traits = {"A": "CUSTOM_1 CUSTOM_2", "B": "CUSTOM_1 CUSTOM_4", "C": "CUSTOM_2 CUSTOM_3", "D": "CUSTOM_4"}
    graph = graph_of(
        Host("root"),
        *(
            Host(name, "root", {"VCPU": Inventory(units[name])}, traits=frozenset(traits.get(name, "CUSTOM_4").split()))
            for name in units
        ),
    )
    groups = [
        RequestGroup(str(number), {"VCPU": amount}, required_traits=(frozenset({f"CUSTOM_{number}"}),))
        for number, amount in ((1, 3), (2, 2), (3, 1), (4, 1))
    ]
    # Without the last group it is 1 from B, 2 from A, 3 from C; the last one can be anywhere that is left.
    assert {frozenset(each) for each in placed(graph, ask(*groups))} == {frozenset("ABCD"), frozenset("ABCE")}


def test_a_dead_end_says_nothing_of_other_traits_that_are_missing() -> None:
    held = {
        "VCPU": ["CUSTOM_A", "CUSTOM_B"],
        "DISK_GB": ["CUSTOM_A", "CUSTOM_B", "CUSTOM_C"],
        "MEMORY_MB": ["CUSTOM_A"] * 4,
    }
    graph = graph_of(
        Host("root"),
        *(
            Host(f"{name}{number}", "root", {name: Inventory(1)}, traits=frozenset({trait}))
            for name, traits in held.items()
            for number, trait in enumerate(traits)
        ),
    )
    every = tuple(frozenset({trait}) for trait in TRAITS)
    found = placed(graph, ask(RequestGroup(resources=dict.fromkeys(held, 1), required_traits=every)))
    assert {frozenset(each) for each in found} == {
        frozenset({"VCPU1", "DISK_GB2", f"MEMORY_MB{number}"}) for number in range(4)
    }


def test_a_dead_end_says_nothing_of_a_provider_with_other_traits() -> None:
    graph = graph_of(
        Host("root", inventories={"DISK_GB": Inventory(1)}),
        Host("with", "root", {"VCPU": Inventory(2)}, traits=frozenset({"CUSTOM_A"})),
        Host("without", "root", {"VCPU": Inventory(2)}),
    )
    spread = RequestGroup(resources={"VCPU": 1, "DISK_GB": 1}, required_traits=(frozenset({"CUSTOM_A"}),))
    found = placed(graph, ask(spread, RequestGroup("1", {"VCPU": 2})))
    assert found == [{"with": {"VCPU": 1}, "root": {"DISK_GB": 1}, "without": {"VCPU": 2}}]
