"""What has changed, as followers of the graph hear of it."""

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdcompute.placement.graph import decide, decide_claims, decide_names
from etcdcompute.placement.graph.change import Applied
from etcdcompute.placement.graph.documents import HEAD, HeadDocument, Kind, Ref, parse
from etcdcompute.placement.graph.export import take_snapshot, to_json
from etcdcompute.placement.graph.feed import Change, Feed
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Claim, Inventory
from tests.unit.placement.test_graph import History, loaded, some_step

ALL = 10**9


def export(graph: Graph) -> dict[str, Any]:
    exported: dict[str, Any] = json.loads(to_json(take_snapshot(graph)))
    return exported


def replay(exported: dict[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Apply changes to an export, as a follower would."""
    things = {
        "providers": {each["uuid"]: each for each in exported["providers"]},
        "consumers": {each["uuid"]: each for each in exported["consumers"]},
        "traits": {name: name for name in exported["traits"]},
        "resource_classes": {name: name for name in exported["resource_classes"]},
    }
    revision = exported["revision"]
    for change in changes:
        data = json.loads(change.data)
        assert data["revision"] == change.revision > revision
        revision = change.revision
        for group, held in things.items():
            found = data.get(group, {})
            for each in found.get("created", ()):
                key = each if isinstance(each, str) else each["uuid"]
                assert key not in held
                held[key] = each
            for each in found.get("changed", ()):
                held[each["uuid"]] = {**held[each["uuid"]], **each}
            for key in found.get("removed", ()):
                del held[key]
    return {"revision": revision, **{group: [held[key] for key in sorted(held)] for group, held in things.items()}}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_an_export_and_the_changes_after_it_are_the_later_export(seed: int) -> None:
    chance = random.Random(seed)
    history = History()
    feed = Feed()
    feed.start_over(())
    exports = [export(history.graph)]
    for _ in range(60):
        length = len(history.applied)
        if some_step(chance)(history):
            feed.add(history.applied[length:])
            exports.append(export(history.graph))
    for before in exports:
        changes = feed.read(before["revision"], ALL)
        assert changes is not None
        assert replay(before, changes) == exports[-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_an_export_is_the_same_bytes_after_a_restart(seed: int) -> None:
    chance = random.Random(seed)
    history = History()
    for _ in range(60):
        some_step(chance)(history)
    listing = history.listing()
    chance.shuffle(listing)
    restarted = loaded(listing)
    restarted.head = history.graph.head
    assert to_json(take_snapshot(restarted)) == to_json(take_snapshot(history.graph))


@pytest.fixture
def history() -> History:
    history = History()
    history.make(decide.create_provider, "rp", "name", None)
    history.make(decide.set_inventories, "rp", {"VCPU": Inventory(4)}, None)
    return history


def fed(history: History, most_bytes: int = ALL) -> Feed:
    feed = Feed(most_bytes)
    feed.start_over(())
    feed.add(history.applied)
    return feed


def last(feed: Feed) -> dict[str, Any]:
    changes = feed.read(feed.latest - 1, ALL)
    assert changes is not None
    told: dict[str, Any] = json.loads(changes[-1].data)
    return told


def test_each_kind_of_change_is_told(history: History) -> None:
    feed = fed(history)

    def after(decision: Any, *arguments: Any) -> dict[str, Any]:
        assert history.make(decision, *arguments)
        feed.add(history.applied[-1:])
        return last(feed)

    assert after(decide_claims.claim, [Claim("c", {"rp": {"VCPU": 1}}, "p", "u")]) == {
        "revision": 3,
        "providers": {"changed": [{"uuid": "rp", "generation": 2}]},
        "consumers": {"created": [json.loads(to_json(take_snapshot(history.graph)))["consumers"][0]]},
    }
    assert list(after(decide_claims.claim, [Claim("c", {"rp": {"VCPU": 2}}, "p", "u")])["consumers"]) == ["changed"]
    assert after(decide_claims.release, "c") == {"revision": 5, "consumers": {"removed": ["c"]}}
    # A parent is only depended upon.
    child = after(decide.create_provider, "child", "child", "rp")
    assert [each["uuid"] for each in child["providers"].pop("created")] == ["child"]
    assert child == {"revision": 6, "providers": {}}
    assert after(decide_names.create_trait, "CUSTOM_T") == {"revision": 7, "traits": {"created": ["CUSTOM_T"]}}
    assert after(decide_names.delete_trait, "CUSTOM_T") == {"revision": 8, "traits": {"removed": ["CUSTOM_T"]}}
    assert after(decide_names.create_resource_class, "CUSTOM_C")["resource_classes"] == {"created": ["CUSTOM_C"]}
    assert after(decide.delete_provider, "child")["providers"] == {"removed": ["child"]}


def test_what_was_forgotten_is_said_to_be_unknown(history: History) -> None:
    for number in range(50):
        history.make(decide_names.create_trait, f"CUSTOM_{number}")
    feed = fed(history, most_bytes=2000)
    assert feed.latest == 52
    assert feed.read(1, ALL) is None
    assert feed.read(53, ALL) is None
    assert feed.read(52, ALL) == []
    known = [revision for revision in range(53) if feed.read(revision, ALL) is not None]
    assert known == list(range(known[0], 53))
    assert 2 < len(known) < 50
    changes = feed.read(known[0], ALL)
    assert changes is not None
    assert [change.revision for change in changes] == known[1:]


def test_what_nobody_read_in_time_is_forgotten_and_what_comes_after_it_told_as_ever(history: History) -> None:
    feed = Feed(most_waiting=3)
    feed.start_over(())
    feed.add(history.applied)
    for amount in (1, 2):
        history.make(decide_claims.claim, [Claim("c", {"rp": {"VCPU": amount}}, "p", "u")])
        feed.add(history.applied[-1:])
    # Each of these wrote a consumer and a generation.
    assert feed.read(1, ALL) is None
    assert feed.read(2, ALL) is None
    assert last(feed)["providers"] == {"changed": [{"uuid": "rp", "generation": 3}]}
    assert list(last(feed)["consumers"]) == ["changed"]


def test_nothing_is_forgotten_unread_where_somebody_listens(history: History) -> None:
    feed = Feed(most_waiting=1)
    feed.listen(lambda: None)
    feed.start_over(())
    feed.add(history.applied)
    assert [change.revision for change in feed.read(0, ALL) or ()] == [1, 2]


def test_a_reader_gets_as_much_as_it_asks_for_and_at_least_one(history: History) -> None:
    feed = fed(history)
    first = feed.read(0, 1)
    assert first is not None
    assert [change.revision for change in first] == [1]
    assert [change.revision for change in feed.read(0, len(first[0].data) + 1) or ()] == [1, 2]


def test_a_listing_voids_what_was_known_unless_nothing_was_missed(history: History) -> None:
    feed = fed(history)

    def listing(head: int) -> list[Any]:
        return [*history.listing(), (HEAD, HeadDocument(change="x"), head)]

    feed.start_over(listing(2))
    assert len(feed.read(0, ALL) or ()) == 2
    feed.start_over(listing(9))
    assert feed.read(2, ALL) is None
    assert feed.read(9, ALL) == []
    # A store that was set back has an older head.
    feed.start_over(listing(1))
    assert feed.read(9, ALL) is None
    assert feed.read(1, ALL) == []


def test_what_changes_nothing_that_is_shown_moves_the_revision_on(history: History) -> None:
    feed = fed(history)
    generation, _ = history.documents[Ref(Kind.GENERATION, "rp")]
    feed.add([Applied(7, {Ref(Kind.GENERATION, "rp"): generation, HEAD: HeadDocument(change="x")})])
    assert feed.read(2, ALL) == []
    assert feed.read(7, ALL) == []


def test_listeners_are_told(history: History) -> None:
    told: list[int] = []
    feed = Feed()
    feed.listen(lambda: told.append(feed.latest))
    feed.start_over(())
    feed.add(history.applied)
    assert told == [0, 2]


def test_defaults_are_shown_but_not_stored() -> None:
    history = History()
    assert history.make(decide.create_provider, "host", "host", None)
    assert history.make(decide.set_inventories, "host", {"VCPU": Inventory(total=4)}, 0)
    shown = {
        "total": 4,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2147483647,
        "step_size": 1,
        "allocation_ratio": 1.0,
    }
    assert export(history.graph)["providers"][0]["inventories"] == {"VCPU": shown}
    feed = Feed()
    feed.start_over(())
    feed.add(history.applied)
    changes = feed.read(0, ALL)
    assert changes is not None
    assert json.loads(changes[-1].data)["providers"]["changed"][0]["inventories"] == {"VCPU": shown}
    document, _ = history.documents[Ref(Kind.PROVIDER, "host")]
    stored = document.to_json()
    assert json.loads(stored)["inventories"] == {"VCPU": {"total": 4}}
    # As services have stored it before.
    whole = {**json.loads(stored), "inventories": {"VCPU": shown}}
    assert parse(Ref(Kind.PROVIDER, "host"), json.dumps(whole).encode()) == document
