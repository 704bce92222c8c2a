"""How many more fit, against every way of filling small deployments, and against claiming until nothing fits."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations
from uuid import UUID

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Claim, Inventory
from etcdcompute.placement.insight.capacity import compute_capacity
from etcdcompute.placement.insight.flow import max_flow
from tests.unit.placement.deployment import SHARES, Host, graph_of
from tests.unit.placement.oracle import Candidate, brute_force
from tests.unit.placement.test_candidates import deployments, numa
from tests.unit.placement.test_candidates import groups as rarely_special
from tests.unit.placement.test_explain import cases

small = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_MOST_STATES = 50_000


def most_claims(graph: Graph, candidates: Iterable[Candidate]) -> int:
    """Return, by trying, how many claims out of the candidates fit at the same time."""
    wanted = {frozenset(amounts) for amounts, _ in candidates}
    keys = sorted({(uuid, name) for amounts in wanted for uuid, name, _ in amounts})
    vectors = {tuple(sum(n for uuid, name, n in amounts if (uuid, name) == key) for key in keys) for amounts in wanted}
    # Whoever takes less of everything is never the worse choice.
    least = sorted(
        one for one in vectors if not any(other != one and all(map(int.__le__, other, one)) for other in vectors)
    )
    free = tuple(
        graph.providers[uuid].capacities[name] - graph.providers[uuid].used.get(name, 0) for uuid, name in keys
    )
    states = 0

    @cache
    def best(first: int, left: tuple[int, ...]) -> int:
        nonlocal states
        states += 1
        assume(states < _MOST_STATES)
        if first == len(least):
            return 0
        vector = least[first]
        times = min(have // take for have, take in zip(left, vector, strict=True) if take)
        return max(
            each + best(first + 1, tuple(have - each * take for have, take in zip(left, vector, strict=True)))
            for each in range(times + 1)
        )

    return best(0, free)


@small
@given(cases())
def test_capacity_is_what_trying_everything_finds(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    found = compute_capacity(graph, request)
    most = most_claims(graph, brute_force(graph, request))
    assert found.total <= most <= found.at_most
    assert (found.total > 0) == (most > 0)
    for each in found.roots:
        alone = most_claims(graph, brute_force(graph, request, each.uuid))
        assert each.count == alone if each.exact else 0 < each.count <= alone


@st.composite
def simple_cases(draw: st.DrawFn) -> tuple[list[Host], CandidateRequest]:
    """Requests with one group, or with like ones."""
    hosts = draw(deployments())
    names = [host.name for host in hosts]
    suffix = draw(st.sampled_from(["", "1"]))
    group = draw(rarely_special(suffix, names))
    like = range(1, draw(st.integers(2, 4))) if suffix else ()
    groups = tuple(replace(group, suffix=str(number)) for number in like) or (group,)
    return hosts, CandidateRequest(groups=groups, isolate=draw(st.booleans()))


@small
@given(simple_cases())
def test_one_group_or_like_groups_are_counted_exactly(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    assume(not any(group.required_traits for group in request.groups if not group.suffix))
    # Where several groups, or several classes, draw on what several trees share, it is exact only at times.
    shared = {name for host in hosts if SHARES in host.traits for name in host.inventories} & request.resource_classes
    assume(not shared or len(request.slots) == 1 or (len(request.groups) == 1 and len(shared) == 1))
    graph = graph_of(*hosts)
    found = compute_capacity(graph, request)
    assert found.exact
    assert found.total == most_claims(graph, brute_force(graph, request))
    assert all(each.exact for each in found.roots)


def test_claiming_ends_where_capacity_says() -> None:
    store = EmbeddedStore(MemoryJournal())
    store.start()
    request = CandidateRequest(groups=(RequestGroup(resources={"VCPU": 2, "DISK_GB": 3}),), limit=1)
    try:
        for number, (vcpus, disk) in enumerate([(8, 100), (7, 100), (100, 10), (1, 100)]):
            provider = store.create_provider(str(UUID(int=number)), f"host{number}", None)
            held = {"VCPU": Inventory(vcpus), "DISK_GB": Inventory(disk)}
            store.set_inventories(provider.uuid, held, provider.generation)
        for left in range(10, 0, -1):
            found = store.compute_capacity(request)
            assert (found.total, found.exact) == (left, True)
            assert [each.count for each in found.roots] == sorted((each.count for each in found.roots), reverse=True)
            candidate = store.find_candidates(request).requests[0]
            store.claim([Claim(str(UUID(int=1000 + left)), candidate.allocations, "project", "user", generation=None)])
        assert store.compute_capacity(request).total == 0
        assert not store.find_candidates(request).requests
    finally:
        store.close()


def flat(name: str, *aggregates: str, **inventories: int) -> Host:
    held = {resource: Inventory(total) for resource, total in inventories.items()}
    return Host(name, inventories=held, aggregates=frozenset(aggregates))


def storage(name: str, *aggregates: str, disk: int) -> Host:
    return Host(
        name,
        inventories={"DISK_GB": Inventory(disk)},
        traits=frozenset({SHARES}),
        aggregates=frozenset(aggregates),
    )


VM = RequestGroup(resources={"VCPU": 1, "DISK_GB": 10})


def counted(*hosts: Host, groups: tuple[RequestGroup, ...] = (VM,)) -> tuple[int, bool, dict[str, int]]:
    found = compute_capacity(graph_of(*hosts), CandidateRequest(groups=groups))
    return found.total, found.exact, {each.name: each.count for each in found.roots}


def test_what_is_shared_is_given_out_once() -> None:
    hosts = [flat(f"host{number}", "rack", VCPU=8) for number in range(3)]
    assert counted(*hosts, storage("nfs", "rack", disk=100)) == (10, True, {"host0": 8, "host1": 8, "host2": 8})


def test_own_disk_is_used_before_what_is_shared() -> None:
    hosts = flat("rich", "rack", VCPU=4, DISK_GB=40), flat("poor", "rack", VCPU=4)
    assert counted(*hosts, storage("nfs", "rack", disk=40)) == (8, True, {"rich": 4, "poor": 4})


def test_overlapping_shares_are_divided_the_best_way() -> None:
    # The middle one could use up either; both neighbours have only one.
    hosts = flat("left", "a", VCPU=3), flat("middle", "a", "b", VCPU=3), flat("right", "b", VCPU=3)
    stores = storage("nfs-a", "a", disk=30), storage("nfs-b", "b", disk=50)
    assert counted(*hosts, *stores) == (8, True, {"left": 3, "middle": 3, "right": 3})


def test_groups_that_want_different_amounts_of_one_class_get_a_number_that_fits() -> None:
    groups = RequestGroup("1", {"VCPU": 3}), RequestGroup("2", {"VCPU": 2})
    found = compute_capacity(graph_of(*numa("host", children=3, each=8)), CandidateRequest(groups=groups))
    # 24 in all would do for four, but each child leaves one or more.
    assert (found.total, found.at_most, found.exact) == (4, 4, True)
    # 15 would do for two, but no child has room for more than one group.
    larger = RequestGroup("1", {"VCPU": 3}), RequestGroup("2", {"VCPU": 4})
    found = compute_capacity(graph_of(*numa("host", children=3, each=5)), CandidateRequest(groups=larger))
    assert (found.total, found.at_most, found.exact) == (1, 2, False)


def test_a_limit_cuts_the_list_and_not_the_total() -> None:
    graph = graph_of(*(flat(f"host{number}", VCPU=number) for number in range(1, 6)))
    found = compute_capacity(graph, CandidateRequest(groups=(RequestGroup(resources={"VCPU": 1}),), limit=2))
    assert (found.total, [each.name for each in found.roots]) == (15, ["host5", "host4"])


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)),
    st.dictionaries(st.integers(0, 3), st.integers(0, 5), min_size=1),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_flow_is_bounded_by_the_narrowest_cut(
    demands: dict[str, int], supplies: dict[int, int], data: st.DataObject
) -> None:
    reach = {each: data.draw(st.frozensets(st.sampled_from(sorted(supplies)))) for each in demands}
    cuts = []
    for size in range(len(demands) + 1):
        for cut in combinations(demands, size):
            # Those that are cut off are not met; the others need all that they reach.
            rest = demands.keys() - set(cut)
            reached = frozenset().union(*(reach[each] for each in rest))
            cuts.append(sum(demands[each] for each in cut) + sum(supplies[each] for each in reached))
    assert max_flow(demands, supplies, reach) == min(cuts)
