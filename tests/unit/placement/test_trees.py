"""Whole trees declared: what stands afterwards is what was declared, and nothing is written for what is the same."""

import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdcompute.errors import EtcdComputeError
from etcdcompute.placement.graph import decide, decide_claims
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.decide_trees import declare_tree, delete_tree, get_tree
from etcdcompute.placement.graph.documents import HEAD, Kind, Ref
from etcdcompute.placement.graph.errors import (
    GenerationConflict,
    InventoryInUse,
    NameTaken,
    ProviderElsewhere,
    ProviderInUse,
    ProviderNotFound,
    UnknownResourceClass,
    UnknownTrait,
)
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Claim, Inventory
from etcdcompute.placement.graph.trees import DeclaredProvider, Tree
from tests.unit.placement.test_graph import History, loaded, picture, some_step


def provider(
    uuid: str,
    parent: str | None = None,
    *,
    name: str = "",
    traits: tuple[str, ...] = (),
    generation: int | None = None,
    **inventories: int,
) -> DeclaredProvider:
    return DeclaredProvider(
        uuid,
        name or f"name-{uuid}",
        parent,
        {each: Inventory(total) for each, total in inventories.items()},
        traits,
        (),
        generation,
    )


def tree(*providers: DeclaredProvider) -> Tree:
    return Tree(providers)


HOST = tree(
    provider("host", DISK_GB=100),
    provider("numa0", "host", VCPU=8, traits=("HW_NUMA_ROOT",)),
    provider("numa1", "host", VCPU=8, traits=("HW_NUMA_ROOT",)),
)


@pytest.fixture
def history() -> History:
    history = History()
    assert history.make(declare_tree, HOST)
    return history


def claim(history: History, uuid: str, consumer: str = "consumer") -> None:
    assert history.make(decide_claims.claim, [Claim(consumer, {uuid: {"VCPU": 1}}, "project", "user")])


def generations(graph: Graph) -> dict[str, int]:
    return {uuid: node.generation for uuid, node in graph.providers.items()}


def without_generations(found: Tree) -> dict[str, DeclaredProvider]:
    return {each.uuid: msgspec.structs.replace(each, generation=None) for each in found.providers}


def test_what_is_declared_stands(history: History) -> None:
    change = Change()
    outcome = declare_tree(Graph(), change, HOST)
    assert outcome.created == ("host", "numa0", "numa1")
    assert get_tree(history.graph, "host") == tree(
        provider("host", DISK_GB=100, generation=0),
        provider("numa0", "host", VCPU=8, traits=("HW_NUMA_ROOT",), generation=0),
        provider("numa1", "host", VCPU=8, traits=("HW_NUMA_ROOT",), generation=0),
    )
    assert change.expected == {
        Ref(kind, name): 0
        for uuid in ("host", "numa0", "numa1")
        for kind, name in ((Kind.PROVIDER, uuid), (Kind.NAME, f"name-{uuid}"))
    }


def test_what_is_the_same_is_not_written(history: History) -> None:
    change = Change()
    outcome = declare_tree(history.graph, change, HOST)
    assert change == Change(id=change.id)
    assert not outcome.changed
    assert outcome.generations == {"host": 0, "numa0": 0, "numa1": 0}
    back = Change()
    declare_tree(history.graph, back, get_tree(history.graph, "host"))
    assert back.empty


def test_only_what_differs_gets_a_generation_but_all_of_it_is_depended_upon(history: History) -> None:
    change = Change()
    wanted = tree(HOST.providers[0], provider("numa0", "host", VCPU=16), HOST.providers[2])
    outcome = declare_tree(history.graph, change, wanted)
    assert (outcome.created, outcome.updated, outcome.removed) == ((), ("numa0",), ())
    assert outcome.generations == {"host": 0, "numa0": 1, "numa1": 0}
    assert set(change.puts) == {Ref(Kind.PROVIDER, "numa0"), Ref(Kind.GENERATION, "numa0")}
    # Of what is as it was created there is no generation.
    unwritten = {Ref(Kind.GENERATION, uuid): 0 for uuid in ("host", "numa1")}
    assert change.expected == {**unwritten, Ref(Kind.GENERATION, "numa0"): 0, Ref(Kind.PROVIDER, "numa0"): 1}
    assert history.make(declare_tree, wanted)
    assert history.make(declare_tree, HOST)
    change = Change()
    declare_tree(history.graph, change, wanted)
    assert change.expected == {**unwritten, Ref(Kind.GENERATION, "numa0"): 3}


def test_a_child_that_is_not_declared_goes_unless_it_is_claimed_from(history: History) -> None:
    claim(history, "numa1")
    only_numa0 = tree(*HOST.providers[:2])
    with pytest.raises(ProviderInUse, match=r"numa1.*consumer"):
        declare_tree(history.graph, Change(), only_numa0)
    assert history.make(decide_claims.release, "consumer")
    assert history.make(declare_tree, only_numa0)
    assert set(history.graph.providers) == {"host", "numa0"}
    assert set(history.graph.names) == {"name-host", "name-numa0"}
    assert generations(history.graph) == {"host": 0, "numa0": 0}


def test_inventory_that_is_claimed_from_stays(history: History) -> None:
    claim(history, "numa1")
    without = tree(*HOST.providers[:2], provider("numa1", "host", MEMORY_MB=1))
    with pytest.raises(InventoryInUse, match="consumer"):
        declare_tree(history.graph, Change(), without)
    less = tree(*HOST.providers[:2], provider("numa1", "host", VCPU=1))
    assert history.make(declare_tree, less)


def test_names_are_exchanged_and_inherited_within_a_tree(history: History) -> None:
    exchanged = tree(
        HOST.providers[0],
        provider("numa0", "host", name="name-numa1"),
        provider("numa2", "numa0", name="name-numa0"),
    )
    assert history.make(declare_tree, exchanged)
    assert history.graph.names == {"name-host": "host", "name-numa1": "numa0", "name-numa0": "numa2"}
    assert picture(loaded(history.listing())) == picture(history.graph)


def test_a_provider_moves_within_its_tree(history: History) -> None:
    claim(history, "numa1")
    turned = tree(
        HOST.providers[0],
        provider("numa1", "host", VCPU=8, traits=("HW_NUMA_ROOT",)),
        provider("numa0", "numa1", VCPU=8, traits=("HW_NUMA_ROOT",)),
    )
    change = Change()
    declare_tree(history.graph, change, turned)
    assert Ref(Kind.GENERATION, "numa1") in change.puts, "a new parent must not be removed meanwhile"
    assert history.make(declare_tree, turned)
    assert generations(history.graph) == {"host": 0, "numa0": 1, "numa1": 1}
    back = tree(HOST.providers[0], HOST.providers[1], provider("numa1", "numa0", VCPU=8))
    assert history.make(declare_tree, back)
    assert [node.uuid for node in history.graph.providers["host"].tree()] == ["host", "numa0", "numa1"]


def test_a_provider_of_another_tree_is_none_of_this_one(history: History) -> None:
    other = tree(provider("other"), provider("numa1", "other"))
    with pytest.raises(ProviderElsewhere, match="in that of host"):
        declare_tree(history.graph, Change(), other)
    with pytest.raises(ProviderElsewhere, match="no root: it is in the tree of host"):
        declare_tree(history.graph, Change(), tree(provider("numa1")))
    with pytest.raises(ProviderElsewhere, match="no root"):
        delete_tree(history.graph, Change(), "numa1")
    with pytest.raises(ProviderElsewhere, match="no root"):
        get_tree(history.graph, "numa1")
    with pytest.raises(ProviderNotFound):
        get_tree(history.graph, "other")
    assert history.make(declare_tree, tree(provider("other")))
    with pytest.raises(ProviderElsewhere, match="in that of other"):
        declare_tree(history.graph, Change(), tree(*HOST.providers, provider("other", "host")))
    with pytest.raises(NameTaken, match=r"name-host.*Provider host has"):
        declare_tree(history.graph, Change(), tree(provider("other", name="name-host")))


def test_a_generation_is_a_guard(history: History) -> None:
    claim(history, "numa0")
    with pytest.raises(GenerationConflict, match="numa0 is at generation 1, but was declared at generation 0"):
        declare_tree(history.graph, Change(), tree(HOST.providers[0], provider("numa0", "host", generation=0)))
    with pytest.raises(GenerationConflict, match="numa7 does not exist"):
        declare_tree(history.graph, Change(), tree(HOST.providers[0], provider("numa7", "host", generation=0)))


def test_custom_names_come_with_the_tree(history: History) -> None:
    custom = tree(
        provider("other", CUSTOM_LICENCE=4, traits=("CUSTOM_FAST",)), provider("below", "other", CUSTOM_LICENCE=2)
    )
    change = Change()
    outcome = declare_tree(history.graph, change, custom)
    assert (outcome.created_traits, outcome.created_classes) == (("CUSTOM_FAST",), ("CUSTOM_LICENCE",))
    assert history.make(declare_tree, custom)
    later = Change()
    outcome = declare_tree(history.graph, later, tree(provider("third", CUSTOM_LICENCE=1, traits=("CUSTOM_FAST",))))
    assert (outcome.created_traits, outcome.created_classes) == ((), ())
    # Whoever removes the name meanwhile must be noticed.
    assert later.expected[Ref(Kind.TRAIT, "CUSTOM_FAST")] == 2
    assert later.expected[Ref(Kind.RESOURCE_CLASS, "CUSTOM_LICENCE")] == 2
    with pytest.raises(UnknownTrait):
        declare_tree(history.graph, Change(), tree(provider("third", traits=("HW_PONY",))))
    with pytest.raises(UnknownResourceClass):
        declare_tree(history.graph, Change(), tree(provider("third", PONIES=1)))
    with pytest.raises(UnknownTrait):
        declare_tree(history.graph, Change(), tree(provider("third", traits=("CUSTOM_lower",))))


def test_a_tree_goes_with_all_its_providers(history: History) -> None:
    claim(history, "numa0")
    claim(history, "numa1", "second")
    with pytest.raises(ProviderInUse, match=r"numa0, numa1.*consumer, second"):
        delete_tree(history.graph, Change(), "host")
    assert history.make(decide_claims.release, "consumer")
    assert history.make(decide_claims.release, "second")
    assert history.make(delete_tree, "host")
    assert (history.graph.providers, history.graph.names) == ({}, {})
    change = Change()
    assert delete_tree(history.graph, change, "host") == []
    assert change.empty


def test_a_tree_of_more_than_can_be_compared_depends_on_the_whole_graph() -> None:
    history = History()
    many = [provider("root"), *(provider(f"child{number:03}", "root") for number in range(200))]
    assert history.make(declare_tree, tree(*many))
    change = Change()
    declare_tree(history.graph, change, tree(*many, provider("one more", "root")))
    assert change.expected == {
        HEAD: 1,
        Ref(Kind.GENERATION, "root"): 0,
        Ref(Kind.PROVIDER, "one more"): 0,
        Ref(Kind.NAME, "name-one more"): 0,
    }


def some_tree(chance: random.Random) -> Tree:
    """Return a tree of some of the providers that `some_step` is about, in any shape."""
    uuids = [f"rp{number}" for number in chance.sample(range(5), chance.randint(1, 4))]
    names = [f"name-{uuid}" for uuid in uuids]
    if chance.random() < 0.3:
        chance.shuffle(names)
    providers = []
    for number, uuid in enumerate(uuids):
        inventories = {"VCPU": chance.randint(4, 6)}
        if chance.random() < 0.3:
            inventories["CUSTOM_C"] = 2
        providers.append(
            provider(
                uuid,
                chance.choice(uuids[:number]) if number else None,
                name=names[number],
                traits=tuple(chance.sample(["CUSTOM_T", "HW_CPU_X86_VMX"], chance.randint(0, 1))),
                **inventories,
            )
        )
    return Tree(tuple(providers))


def grow(history: History, chance: random.Random, steps: int) -> Iterator[Tree]:
    """Make declarations of trees among other steps; yield each tree that stands now."""
    for _ in range(steps):
        step = chance.random()
        if step < 0.4:
            wanted = some_tree(chance)
            try:
                declare_tree(history.graph, Change(), wanted)
            except EtcdComputeError:
                continue
            history.make(declare_tree, wanted)
            yield wanted
        elif step < 0.45:
            history.make(delete_tree, f"rp{chance.randrange(5)}")
        else:
            some_step(chance)(history)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_whatever_stood_before_what_was_declared_stands_after(seed: int) -> None:
    history = History()
    for wanted in grow(history, random.Random(seed), 60):
        assert without_generations(get_tree(history.graph, wanted.root_uuid)) == without_generations(wanted)
        before = generations(history.graph)
        assert not history.make(declare_tree, wanted)
        assert generations(history.graph) == before
    assert picture(loaded(history.listing())) == picture(history.graph)
    for node in history.graph.providers.values():
        assert set(node.used) <= set(node.inventories)
        assert node.parent is None or node.uuid in node.parent.children


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_the_watch_tells_of_trees_what_the_writer_knows(seed: int) -> None:
    history = History()
    assert list(grow(history, random.Random(seed), 60))
    graph = Graph()
    for applied in history.applied:
        graph.apply(applied)
    assert picture(graph) == picture(history.graph)


def slightly_changed(graph: Graph, chance: random.Random) -> Tree:
    """Return a tree that stands, with more of one of its providers' inventory."""
    roots = [uuid for uuid, node in graph.providers.items() if node.root is node]
    if not roots:
        return some_tree(chance)
    providers = list(without_generations(get_tree(graph, chance.choice(roots))).values())
    number = chance.randrange(len(providers))
    more = {**providers[number].inventories, "MEMORY_MB": Inventory(chance.randint(1, 10**6))}
    providers[number] = msgspec.structs.replace(providers[number], inventories=more)
    return Tree(tuple(providers))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_whoever_changes_a_tree_meanwhile_is_noticed(seed: int) -> None:
    """Any other change within the tree rewrites something that the declaration depends on."""
    chance = random.Random(seed)
    history = History()
    for _ in range(40):
        list(grow(history, chance, 3))
        wanted = slightly_changed(history.graph, chance)
        change = Change()
        try:
            declare_tree(history.graph, change, wanted)
        except EtcdComputeError:
            continue
        if change.empty or not some_step(chance)(history):
            continue
        if set(history.applied[-1].documents).isdisjoint(change.expected):
            # It went unnoticed: then the declaration must not have come out differently after it.
            again = Change()
            declare_tree(history.graph, again, wanted)
            assert set(again.puts) == set(change.puts)
            assert again.removals == change.removals


def test_steps_that_add_a_child_are_noticed(history: History) -> None:
    change = Change()
    declare_tree(history.graph, change, tree(HOST.providers[0], provider("numa0", "host", VCPU=9), HOST.providers[2]))
    assert history.make(decide.create_provider, "device", "device", "numa1")
    assert set(history.applied[-1].documents) & set(change.expected)
