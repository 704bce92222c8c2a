"""Which candidate is claimed first."""

from collections.abc import Mapping

from etcdcompute.placement.client import AllocationCandidates, AllocationRequest, ProviderSummary, ResourceSummary
from etcdcompute.scheduler.rank import compute_load, find_host, rank
from etcdcompute.scheduler.view import HostRecord, Hosts


def summary(used: int = 0, capacity: int = 8, *, root: str | None = None, vcpu: str = "VCPU") -> ProviderSummary:
    return ProviderSummary({vcpu: ResourceSummary(capacity, used)}, frozenset(), None, root)


def request(provider: str, amount: int = 1) -> AllocationRequest:
    return AllocationRequest({provider: {"VCPU": amount}})


def candidates(summaries: Mapping[str, ProviderSummary], *requests: AllocationRequest) -> AllocationCandidates:
    return AllocationCandidates(requests or tuple(request(uuid) for uuid in summaries), summaries)


def hosts(*uuids: str, dead: tuple[str, ...] = (), cordoned: tuple[str, ...] = ()) -> Hosts:
    known = {uuid: HostRecord(f"host-{uuid}", uuid in cordoned) for uuid in uuids}
    return Hosts(known, frozenset(uuids) - set(dead))


def test_the_least_used_host_comes_first() -> None:
    found = rank(candidates({"a": summary(4), "b": summary(1), "c": summary(6)}), hosts("a", "b", "c"), seed="x")
    assert [each.host for each in found] == ["b", "a", "c"]


def test_hosts_that_are_dead_cordoned_or_unknown_are_left_out() -> None:
    answer = candidates({uuid: summary() for uuid in "abcd"})
    found = rank(answer, hosts("a", "b", "c", dead=("a",), cordoned=("b",)), seed="x")
    assert [each.host for each in found] == ["c"]


def test_equals_are_shuffled_by_the_seed_and_the_same_seed_gives_the_same_order() -> None:
    uuids = "abcdefgh"
    answer = candidates({uuid: summary() for uuid in uuids})
    orders = {seed: tuple(each.host for each in rank(answer, hosts(*uuids), seed=seed)) for seed in map(str, range(20))}
    assert len({order[0] for order in orders.values()}) > 3
    assert all(
        order == tuple(each.host for each in rank(answer, hosts(*uuids), seed=seed)) for seed, order in orders.items()
    )


def test_a_nested_provider_belongs_to_the_host_that_is_its_root() -> None:
    summaries = {"numa0": summary(root="a"), "disk": summary(root="pool")}
    found = rank(
        candidates(summaries, AllocationRequest({"disk": {"DISK_GB": 1}, "numa0": {"VCPU": 1}})), hosts("a"), seed="x"
    )
    assert [each.host for each in found] == ["a"]
    assert find_host(["disk"], summaries, hosts("a")) is None


def test_the_load_is_that_of_the_scarcest_resource_with_the_request_in() -> None:
    summaries = {
        "a": ProviderSummary(
            {"VCPU": ResourceSummary(8, 0), "MEMORY_MB": ResourceSummary(100, 40)}, frozenset(), None, None
        )
    }
    assert compute_load(AllocationRequest({"a": {"VCPU": 2, "MEMORY_MB": 10}}), summaries) == 0.5
    assert compute_load(AllocationRequest({"b": {"VCPU": 2}}), summaries) == 1.0
