"""What a search may cost: counted in providers that are tried or looked at, not in time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest

from etcdcompute.placement.candidates.effort import Effort, TooHard, TooMany
from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph.memory import Graph, Node
from etcdcompute.placement.graph.records import Inventory
from tests.unit.placement.deployment import SHARES, Host, graph_of

ISOLATE = pytest.mark.parametrize("isolate", [True, False])


def devices(*traits: str, hosts: int = 1, units: int = 1) -> Graph:
    """Return hosts with one device for each of the traits."""
    held = {name: Inventory(units) for name in ("CUSTOM_X", "CUSTOM_Y")}
    return graph_of(
        *(Host(f"host{host}") for host in range(hosts)),
        *(
            Host(f"host{host}-{number}", f"host{host}", held, traits=frozenset({trait}))
            for host in range(hosts)
            for number, trait in enumerate(traits)
        ),
    )


def group(suffix: object, resources: Mapping[str, int] | int = 1, *traits: str) -> RequestGroup:
    return RequestGroup(
        suffix=f"_{suffix}",
        resources={"CUSTOM_X": resources} if isinstance(resources, int) else resources,
        required_traits=tuple(frozenset({trait}) for trait in traits),
    )


def groups(count: int, resources: Mapping[str, int] | int = 1, *traits: str, first: int = 0) -> list[RequestGroup]:
    return [group(first + number, resources, *traits) for number in range(count)]


# 54 of 54 units in six devices: it does not come out even.
PUZZLE = [*groups(6, 4), *groups(3, 5, first=6), *groups(5, 3, first=9)]


def together(*suffixes: object) -> frozenset[str]:
    return frozenset(f"_{suffix}" for suffix in suffixes)


def tries(graph: Graph, asked: Sequence[RequestGroup], *, found: int = 0, **rest: Any) -> int:
    """Return how many tries it takes to find so many candidates, all there are or all that the limit lets through."""
    effort = Effort()
    request = CandidateRequest(tuple(asked), **rest)
    assert len(find_candidates(graph, request, effort).fillings) == found
    return effort.tries


@ISOLATE
@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("count", [4, 8])
def test_ten_of_very_many_cost_ten(count: int, units: int, isolate: bool) -> None:
    graph = devices(*["CUSTOM_A"] * 8, hosts=10, units=units)
    assert tries(graph, groups(count), isolate=isolate, limit=10, found=10) < 20 * count


@ISOLATE
def test_where_some_fit_few_devices_nothing_leads_astray(isolate: bool) -> None:
    graph = devices(*["CUSTOM_A"] * 5, *["CUSTOM_B"] * 3, hosts=10)
    asked = [*groups(5), *groups(3, 1, "CUSTOM_B", first=5)]
    # The groups without a trait must not take the devices that only the others can do with.
    assert tries(graph, asked, isolate=isolate, limit=10, found=10) < 160


@ISOLATE
@pytest.mark.parametrize(
    ("traits", "asked"),
    [
        (["CUSTOM_A"] * 8, groups(9)),
        (["CUSTOM_A"] * 3 + ["CUSTOM_B"] * 5, groups(4) + groups(4, 1, "CUSTOM_A", first=4)),
        (["CUSTOM_A"] * 8 + ["CUSTOM_B"] * 8, groups(8, 1, "CUSTOM_A") + groups(9, 1, "CUSTOM_B", first=8)),
    ],
    ids=["too many", "too many with a trait", "too many behind those that fit"],
)
def test_more_groups_than_devices_are_not_tried(traits: list[str], asked: list[RequestGroup], isolate: bool) -> None:
    assert tries(devices(*traits, hosts=3), asked, isolate=isolate) == 0


@pytest.mark.parametrize(
    ("count", "units", "asked", "most"),
    [
        (8, 3, groups(8, 2) + groups(1, 3, first=8), 100),
        (8, 7, groups(4, 5) + groups(4, 4, first=4) + groups(5, 3, first=8), 200),
        (8, 4, groups(5, {"CUSTOM_X": 3, "CUSTOM_Y": 1}) + groups(4, {"CUSTOM_X": 1, "CUSTOM_Y": 4}, first=5), 100),
        (6, 9, PUZZLE, 1000),
    ],
    ids=["one too big", "three sizes", "two classes", "just enough in all"],
)
def test_amounts_that_do_not_pack_are_given_up_soon(
    count: int, units: int, asked: list[RequestGroup], most: int
) -> None:
    """Like devices are told apart by nothing: if they were, these would take up to millions of tries."""
    assert tries(devices(*["CUSTOM_A"] * count, units=units), asked) < most


def test_traits_that_a_group_cannot_have_between_its_providers() -> None:
    classes = [f"CUSTOM_{number}" for number in range(8)]
    traits = [f"CUSTOM_T{number}" for number in range(9)]
    held = {name: Inventory(1) for name in classes}
    children = [
        Host(f"{trait}-{number}", "host", held, traits=frozenset({trait})) for trait in traits for number in "123"
    ]
    asked = RequestGroup(
        resources=dict.fromkeys(classes, 1), required_traits=tuple(frozenset({trait}) for trait in traits)
    )
    assert tries(graph_of(Host("host"), *children), [asked]) == 0


def numa_nodes(count: int, devices_each: int) -> Graph:
    """Return a host with NUMA nodes: the first has the trait CUSTOM_FIRST, the others CUSTOM_LATER."""
    nodes = [
        Host(f"numa{number}", "host", traits=frozenset({"CUSTOM_LATER" if number else "CUSTOM_FIRST"}))
        for number in range(count)
    ]
    below = [
        Host(f"{node.name}-{number}", node.name, {"CUSTOM_X": Inventory(1)})
        for node in nodes
        for number in range(devices_each)
    ]
    return graph_of(Host("host"), *nodes, *below)


@ISOLATE
@pytest.mark.parametrize(
    ("asked", "subtrees"),
    [
        ([group("numa", {}, "CUSTOM_LATER"), *groups(5)], [together("numa", 0, 1, 2, 3, 4)]),
        (
            [group("one", {}, "CUSTOM_FIRST"), group("other", {}, "CUSTOM_LATER"), *groups(4)],
            [together("one", 0, 1, 2), together("other", 2, 3)],
        ),
        (groups(8), [together(*range(8))]),
        (
            [*groups(7), group("one", {}, "CUSTOM_FIRST"), *groups(6, {}, "CUSTOM_LATER", first=7)],
            [*(together(number, number + 1, number + 7) for number in range(6)), together(6, "one")],
        ),
    ],
    ids=["too many below one", "a device below two", "nothing on top", "a long chain"],
)
def test_subtrees_that_cannot_be_are_not_tried(
    asked: list[RequestGroup], subtrees: list[frozenset[str]], isolate: bool
) -> None:
    assert tries(numa_nodes(8, 4), asked, same_subtrees=tuple(subtrees), isolate=isolate) < 500


def test_subtrees_that_can_be_are_found_at_once() -> None:
    asked = [group("numa", {}, "CUSTOM_LATER"), *groups(4)]
    subtree = (together("numa", 0, 1, 2, 3),)
    assert tries(numa_nodes(8, 4), asked, same_subtrees=subtree, isolate=True, limit=10, found=10) < 150


def test_clients_that_know_no_trees_get_an_answer_soon() -> None:
    classes = [f"CUSTOM_{number}" for number in range(8)]
    children = [Host(f"child{number}", "host", {classes[number % 8]: Inventory(1)}) for number in range(80)]
    asked = RequestGroup(resources=dict.fromkeys(classes, 1))
    assert tries(graph_of(Host("host"), *children), [asked], nested=False) < 200


def test_a_puzzle_is_given_up() -> None:
    graph = devices(*["CUSTOM_A"] * 6, units=9)
    assert not find_candidates(graph, CandidateRequest(tuple(PUZZLE)), Effort(1000)).fillings
    with pytest.raises(TooHard, match="Ask for fewer"):
        find_candidates(graph, CandidateRequest(tuple(PUZZLE)), Effort(100))


def test_many_trees_are_no_puzzle() -> None:
    graph = devices(*["CUSTOM_A"] * 3, hosts=100, units=10)
    effort = Effort(100)
    asked = CandidateRequest((*groups(2, 6), *groups(3, 5, first=2)))
    assert not find_candidates(graph, asked, effort).fillings
    assert effort.tries > 500


def test_more_candidates_than_an_answer_can_hold_are_refused_but_for_a_limit() -> None:
    graph = devices(*["CUSTOM_A"] * 8, hosts=10)
    asked = tuple(groups(8))
    with pytest.raises(TooMany, match="limit"):
        find_candidates(graph, CandidateRequest(asked))
    assert len(find_candidates(graph, CandidateRequest(asked, limit=1000)).fillings) == 1000


class Watched(Graph):
    """A graph that counts the providers that a search takes out of its indexes."""

    looked_at = 0

    def with_room(self, resource_class: str, amount: int) -> Sequence[Collection[Node]]:
        return [_Counted(self, level) for level in super().with_room(resource_class, amount)]


class _Counted(Collection[Node]):
    def __init__(self, graph: Watched, nodes: Collection[Node]) -> None:
        self._graph = graph
        self._nodes = nodes

    def __iter__(self) -> Iterator[Node]:
        for node in self._nodes:
            self._graph.looked_at += 1
            yield node

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes


def flat(count: int, *, full: int = 0, traits: Collection[int] = ()) -> Watched:
    """Return computes, the first ones with all their memory in use, some with the trait CUSTOM_A."""
    held = {"VCPU": Inventory(8), "MEMORY_MB": Inventory(1000)}
    return graph_of(
        *(
            Host(
                f"host{number}",
                inventories=held,
                used={"MEMORY_MB": 990} if number < full else {},
                traits=frozenset({"CUSTOM_A"} if number in traits else ()),
            )
            for number in range(count)
        ),
        into=Watched(),
    )


PLAIN = RequestGroup(resources={"VCPU": 1, "MEMORY_MB": 100})


@pytest.mark.parametrize("count", [100, 5_000])
def test_a_limit_bounds_the_work_with_many_hosts(count: int) -> None:
    graph = flat(count)
    assert len(find_candidates(graph, CandidateRequest((PLAIN,), limit=10)).fillings) == 10
    assert graph.looked_at <= 16


def test_hosts_that_are_full_are_not_looked_at() -> None:
    graph = flat(2_000, full=1_990)
    assert len(find_candidates(graph, CandidateRequest((PLAIN,))).fillings) == 10
    assert graph.looked_at == 10


def test_what_is_rare_is_looked_for_first() -> None:
    graph = flat(2_000, traits=range(7))
    wanted = RequestGroup(resources=PLAIN.resources, required_traits=(frozenset({"CUSTOM_A"}),))
    assert len(find_candidates(graph, CandidateRequest((wanted,))).fillings) == 7
    assert graph.looked_at == 0


def test_what_all_share_is_told_once() -> None:
    shared = frozenset({"agg"})
    graph = graph_of(
        *(Host(f"host{number}", inventories={"VCPU": Inventory(1)}, aggregates=shared) for number in range(50)),
        *(
            Host(f"nfs{number}", None, {"DISK_GB": Inventory(9)}, traits=frozenset({SHARES}), aggregates=shared)
            for number in range(5)
        ),
    )
    asked = [group("a", {"DISK_GB": 1}), group("b", {"DISK_GB": 2}), group("c", {"DISK_GB": 1})]
    # Each of the fifty hosts reaches them all, and they reach each other; one search for all.
    assert tries(graph, asked, found=125) < 200
