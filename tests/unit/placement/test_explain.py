"""Explanations against brute force on random deployments, and what they say in cases that people meet."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdcompute.placement.candidates.effort import TooHard
from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.candidates.search import search
from etcdcompute.placement.graph.records import Inventory
from etcdcompute.placement.insight import survey
from etcdcompute.placement.insight.capacity import compute_capacity
from etcdcompute.placement.insight.explain import explain
from etcdcompute.placement.insight.explain_text import to_text
from etcdcompute.placement.insight.explanation import Relaxation, Stage
from tests.unit.placement.deployment import Host, graph_of
from tests.unit.placement.oracle import anchors_with_candidates
from tests.unit.placement.test_candidates import AGGREGATES, CLASSES, TRAITS, deployments, some_traits

often = st.sampled_from([False, False, True])
alternatives = st.frozensets(st.sampled_from(TRAITS), min_size=1, max_size=2)
members = st.frozensets(st.sampled_from(AGGREGATES), min_size=1, max_size=2)


@st.composite
def groups(draw: st.DrawFn, suffix: str, names: list[str], at_least: int) -> RequestGroup:
    amounts = st.sampled_from([1, 1, 2, 3, 6])
    return RequestGroup(
        suffix=suffix,
        resources=draw(st.dictionaries(st.sampled_from(CLASSES), amounts, min_size=at_least, max_size=2)),
        required_traits=tuple(draw(st.lists(alternatives, max_size=2))) if draw(often) else (),
        forbidden_traits=draw(some_traits) if draw(often) else frozenset(),
        member_of=tuple(draw(st.lists(members, max_size=2))) if draw(often) else (),
        forbidden_aggregates=draw(members) if draw(often) else frozenset(),
        in_tree=draw(st.sampled_from([None] * 6 + [*names, "nowhere"])),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Host], CandidateRequest]:
    hosts = draw(deployments())
    names = [host.name for host in hosts]
    suffixes = draw(st.sampled_from([[""], ["", "1"], ["1", "2"], ["", "1", "2"], ["1"], ["1", "2", "3"]]))
    bare = draw(st.sampled_from(["", "", suffixes[-1] if len(suffixes) > 1 else ""]))
    asked = tuple(draw(groups(suffix, names, 0 if suffix and suffix == bare else 1)) for suffix in suffixes)
    subtrees = [frozenset({"1", "2"}), frozenset({"2", "3"})]
    request = CandidateRequest(
        groups=asked,
        isolate=draw(st.booleans()),
        same_subtrees=tuple(pair for pair in subtrees if pair <= set(suffixes) and draw(st.booleans())),
        root_required=draw(st.sampled_from([frozenset()] * 5 + [frozenset({"CUSTOM_A"}), frozenset(TRAITS[:2])])),
        root_forbidden=draw(st.sampled_from([frozenset()] * 5 + [frozenset({"CUSTOM_C"})])),
    )
    return hosts, request


many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(cases())
def test_what_is_counted_is_what_brute_force_finds(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    found = explain(graph, request)
    assert found.exact
    assert found.fits == len(anchors_with_candidates(graph, request))
    assert (found.fits == 0) == (next(search(graph, request), None) is None)
    for group, explained in zip(request.groups, found.groups, strict=True):
        if not group.suffix:
            alone = CandidateRequest(groups=(group,))
            assert explained.fits == len(anchors_with_candidates(graph, alone))


@many
@given(cases())
def test_each_stage_begins_where_the_last_one_ended(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    found = explain(graph_of(*hosts), request)
    for group in found.groups:
        check_chain(group.stages, group.of, group.fits)
    check_chain(found.stages, found.of, found.fits if found.stages else found.of)


def check_chain(stages: tuple[Stage, ...], first: int, last: int) -> None:
    left = first
    for stage in stages:
        assert stage.before == left > 0
        assert 0 <= stage.after <= stage.before
        assert len(stage.samples) == min(5, stage.before - stage.after)
        left = stage.after
    assert left == last


@many
@given(cases())
def test_relaxations_are_what_brute_force_finds_without_the_term(case: tuple[list[Host], CandidateRequest]) -> None:
    hosts, request = case
    graph = graph_of(*hosts)
    for relaxation in explain(graph, request).relaxations:
        relaxed = without(request, relaxation)
        assert relaxation.fits == len(anchors_with_candidates(graph, relaxed)), relaxation


def without(request: CandidateRequest, dropped: Relaxation) -> CandidateRequest:
    """Return a request as a client would write it without the term."""
    if dropped.parameter == "group_policy":
        return replace(request, isolate=False)
    if dropped.parameter == "same_subtree":
        left = tuple(each for each in request.same_subtrees if ",".join(sorted(each)) != dropped.subject)
        return replace(request, same_subtrees=left)
    if dropped.parameter == "root_required":
        return replace(
            request,
            root_required=request.root_required - {dropped.subject},
            root_forbidden=request.root_forbidden - {dropped.subject[1:]},
        )
    if dropped.parameter == "group":
        return replace(
            request,
            groups=tuple(group for group in request.groups if group.suffix != dropped.subject),
            same_subtrees=tuple(each - {dropped.subject} for each in request.same_subtrees),
        )
    return replace(
        request,
        groups=tuple(
            without_term(group, dropped) if group.suffix == dropped.group else group for group in request.groups
        ),
    )


def without_term(group: RequestGroup, dropped: Relaxation) -> RequestGroup:
    subject = dropped.subject
    unwanted = frozenset({subject[1:]}) if subject.startswith("!") else frozenset()
    names = frozenset(subject.removeprefix("in:").split(","))
    if dropped.parameter == "resources":
        return replace(group, resources={name: n for name, n in group.resources.items() if name != subject})
    if dropped.parameter == "in_tree":
        return replace(group, in_tree=None)
    if dropped.parameter == "required":
        return replace(
            group,
            required_traits=tuple(each for each in group.required_traits if each != names),
            forbidden_traits=group.forbidden_traits - unwanted,
        )
    assert dropped.parameter == "member_of"
    return replace(
        group,
        member_of=tuple(each for each in group.member_of if each != names),
        forbidden_aggregates=group.forbidden_aggregates - unwanted,
    )


def vcpus(name: str, total: int, used: int = 0, *traits: str, **more: Any) -> Host:
    return Host(name, inventories={"VCPU": Inventory(total)}, used={"VCPU": used}, traits=frozenset(traits), **more)


def test_the_text_of_a_request_that_finds_nothing() -> None:
    hosts = [vcpus(f"plain{number}", 64, 60) for number in range(5)]
    hosts[0] = vcpus("roomy", 64)
    hosts[1] = vcpus("roomier", 128)
    hosts += [vcpus(f"etcd{number}", 8, 8 - number * 2, "COMPUTE_X") for number in range(4)]
    hosts += [vcpus(f"busy{number}", 16, 12, "COMPUTE_X") for number in range(3)]
    request = CandidateRequest(
        groups=(RequestGroup(resources={"VCPU": 8}, required_traits=(frozenset({"COMPUTE_X"}),)),)
    )
    assert to_text(explain(graph_of(*hosts), request)) == (
        '0 of 12 providers fit group "" (VCPU:8, COMPUTE_X)\n'
        "  12 → 7  missing_trait COMPUTE_X\n"
        "   7 → 0  insufficient_capacity VCPU: want 8, largest free 6 (etcd3)\n"
        "without COMPUTE_X: 2 would fit\n"
    )


def test_what_is_too_much_to_look_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(*(vcpus(f"host{number}", 8) for number in range(10)))
    like = tuple(RequestGroup(str(number), {"VCPU": 1}) for number in range(4))
    different = tuple(RequestGroup(str(number), {"VCPU": number}) for number in range(1, 5))
    monkeypatch.setattr(survey, "MOST_LOOKS", 30)
    assert explain(graph, CandidateRequest(groups=like)).fits == 10
    assert compute_capacity(graph, CandidateRequest(groups=like)).total == 20
    for ask in (explain, compute_capacity):
        with pytest.raises(TooHard, match="4 different parts, to be looked for in 10 providers"):
            ask(graph, CandidateRequest(groups=different))
