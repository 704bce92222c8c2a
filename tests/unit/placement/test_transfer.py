"""The whole state by way of a file: whole or refused, resumed wherever it was broken off, equal in the end."""

import json
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Conflict, EtcdComputeError, InvalidInput, Unavailable
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import ConsumerDocument, ImportDocument, Kind, ProviderDocument, Ref
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.errors import BadArchive, BrokenGraph
from etcdcompute.placement.graph.export import Snapshot, to_json
from etcdcompute.placement.graph.freshness import Asked
from etcdcompute.placement.graph.journal import MemoryJournal, Sink
from etcdcompute.placement.graph.records import Claim, Inventory, ProviderFilter
from etcdcompute.placement.graph.restoring import Holdings
from etcdcompute.placement.graph.transfer import archive, importing
from etcdcompute.placement.graph.transfer.importing import abandon_import, import_archive
from etcdcompute.placement.graph.transfer.wholeness import check_whole


@pytest.fixture
def opened() -> Iterator[Callable[[], EmbeddedStore]]:
    stores: list[EmbeddedStore] = []

    def open_() -> EmbeddedStore:
        store = EmbeddedStore(MemoryJournal(), request_timeout_s=5)
        store.start()
        stores.append(store)
        return store

    yield open_
    for store in stores:
        store.close()


def name(number: int, kind: str = "host") -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{kind}{number}"))


def fill(store: EmbeddedStore, hosts: int, seed: int = 0) -> None:
    """Make hosts with two children each, claims on them, names with everything that a name may have."""
    chance = random.Random(seed)
    store.create_trait("CUSTOM_FAST")
    store.create_resource_class("CUSTOM_GPU")
    shared = name(0, "aggregate")
    for number in range(hosts):
        root = name(number)
        store.create_provider(root, f"host/{number} ü%20\n", None)
        store.set_inventories(root, {"DISK_GB": Inventory(chance.randint(100, 900), reserved=3)}, None)
        store.set_aggregates(root, [shared], None)
        for child in range(2):
            numa = name(number, f"numa{child}-")
            store.create_provider(numa, f"numa{number}.{child}", root)
            inventories = {"VCPU": Inventory(8, allocation_ratio=1.5, max_unit=4), "CUSTOM_GPU": Inventory(4)}
            store.set_inventories(numa, inventories, None)
            store.set_traits(numa, ["HW_NUMA_ROOT", "CUSTOM_FAST"], None)
        claimed = {root: {"DISK_GB": chance.randint(1, 9)}, name(number, "numa0-"): {"VCPU": 2, "CUSTOM_GPU": 1}}
        for _ in range(chance.randint(1, 3)):
            store.claim([Claim(name(number, "consumer"), claimed, "project", f"user{number % 3}", "INSTANCE")])
    # A name that was somebody else's, and a consumer of no type.
    store.update_provider(name(0), "renamed", None, move=False, reparent=False)
    store.claim([Claim(name(0, "old"), {name(0): {"DISK_GB": 1}}, "project", "user")])


def lines_of(store: EmbeddedStore) -> list[bytes]:
    return list(archive.write(store.take_snapshot()))


def bring(store: EmbeddedStore, lines: Sequence[bytes], tell: Callable[[str], None] = print) -> importing.Outcome:
    return import_archive(store, archive.read(lines, "a file"), "a file", store.inspect, tell)


def without_revision(store: EmbeddedStore) -> dict[str, object]:
    exported: dict[str, object] = json.loads(to_json(store.take_snapshot()))
    del exported["revision"]
    return exported


def comparable(lines: Sequence[bytes]) -> list[bytes]:
    """Less the first line, which has the revision, and the last, which has the checksum."""
    return list(lines[1:-1])


def is_empty(store: EmbeddedStore) -> bool:
    held = store.inspect()
    return held.importing is None and not any(
        (held.snapshot.providers, held.snapshot.consumers, held.snapshot.traits, held.snapshot.resource_classes)
    )


def test_from_one_store_to_another(opened: Callable[[], EmbeddedStore]) -> None:
    source, target = opened(), opened()
    fill(source, 30)
    lines = lines_of(source)
    assert lines == lines_of(source)
    outcome = bring(target, lines)
    assert str(outcome.counts) == "90 providers, 31 consumers, 1 custom trait, 1 custom resource class"
    assert (outcome.differences, outcome.resumed) == ((), False)
    assert without_revision(target) == without_revision(source)
    assert comparable(lines_of(target)) == comparable(lines)
    # It is a store like any other: generations, names and what is used are there.
    assert target.get_provider(name(0)).used == source.get_provider(name(0)).used
    with pytest.raises(EtcdComputeError, match="already exists"):
        target.create_provider(name(99), "numa1.1", None)
    target.claim([Claim(name(7, "consumer"), {}, "project", "user1")])
    assert target.get_trait("CUSTOM_FAST").created_at == source.get_trait("CUSTOM_FAST").created_at


def test_again_is_nothing_to_do(opened: Callable[[], EmbeddedStore]) -> None:
    source, target = opened(), opened()
    fill(source, 3)
    bring(target, lines_of(source))
    revision = target.fetch_revision()
    assert bring(target, lines_of(source)).restored == 0
    assert target.fetch_revision() == revision


def test_an_empty_graph_is_carried_too(opened: Callable[[], EmbeddedStore]) -> None:
    source, target = opened(), opened()
    assert bring(target, lines_of(source)).restored == 0
    assert is_empty(target)


# Files that are not what was written


@pytest.fixture
def lines(opened: Callable[[], EmbeddedStore]) -> list[bytes]:
    source = opened()
    fill(source, 2)
    return lines_of(source)


def refused(lines: Sequence[bytes], sentence: str) -> None:
    with pytest.raises(BadArchive, match=sentence):
        archive.read(lines, "the file")


def test_a_file_that_is_cut_anywhere_is_not_whole(lines: list[bytes]) -> None:
    for number in range(1, len(lines)):
        refused(lines[:number], f"the file: it ends after line {number} without its closing line: it is not whole")
        refused([*lines[:number], lines[number][:-7]], "cannot be read|not whole|checksum")
    refused([], "it is empty")


def test_a_file_in_which_anything_was_changed_is_found_out(lines: list[bytes]) -> None:
    for number in range(1, len(lines) - 1):
        refused([*lines[:number], *lines[number + 1 :]], "checksum")
        refused([*lines[:number], lines[number], *lines[number:]], "checksum")
    whole = b"".join(lines)
    chance = random.Random(1)
    for _ in range(200):
        at = chance.randrange(len(whole))
        changed = whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        refused(changed.splitlines(keepends=True), "the file: ")
    refused([*lines, b"\n"], "more behind its closing line")
    refused([lines[0], *reversed(lines[1:-1]), lines[-1]], "checksum")


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (b"hello\n", "no file of etcdcompute graph export"),
        (b"\xff\xfe\n", "no file of etcdcompute graph export"),
        (b"[" * 100_000, "no file of etcdcompute graph export"),
        (b'{"consumers": [], "providers": [], "revision": 2}\n', "no file of etcdcompute graph export"),
        (b'{"header":{"counts":{},"format":"etcdcompute-graph","version":1,"revision":1}}\n', "no file of etcdcompute"),
        (
            b'{"header":{"counts":{"consumers":0,"providers":0,"resource_classes":0,"traits":0},'
            b'"format":"other","revision":1,"version":1}}\n',
            "its format is 'other'",
        ),
        (
            b'{"header":{"counts":{"consumers":0,"providers":0,"resource_classes":0,"traits":0},'
            b'"format":"etcdcompute-graph","revision":1,"version":2}}\n',
            "version 2, this program knows 1",
        ),
    ],
)
def test_a_foreign_file(first: bytes, sentence: str) -> None:
    refused([first], sentence)


def test_counts_that_are_not_those_of_the_first_line() -> None:
    one = Snapshot(1, [], [], {"CUSTOM_A": 1.0}, {})
    none = Snapshot(1, [], [], {}, {})
    assert archive.read(archive.write(one), "x").snapshot == one
    assert archive.count(one) != archive.count(none)


# Graphs that do not hold together


def provider(uuid: str, parent: str | None = None, **fields: object) -> tuple[ProviderDocument, int]:
    return ProviderDocument.from_mapping({"uuid": uuid, "name": f"name of {uuid}", "parent_uuid": parent, **fields}), 1


def consumer(uuid: str, allocations: dict[str, dict[str, int]]) -> ConsumerDocument:
    return ConsumerDocument(uuid=uuid, generation=1, project_id="p", user_id="u", allocations=allocations)


@pytest.mark.parametrize(
    ("providers", "consumers", "sentence"),
    [
        ([provider("a"), provider("a")], [], "2 providers have the uuid 'a'"),
        ([provider("a"), provider("b", name="name of a")], [], "2 providers have the name"),
        ([], [consumer("c", {}), consumer("c", {})], "2 consumers have the uuid 'c'"),
        ([provider("a", "gone")], [], "provider a is below gone, which is not there"),
        ([provider("a", "b"), provider("b", "a")], [], "provider . is, by way of others, below itself"),
        ([provider("a", traits=["CUSTOM_X"])], [], "trait CUSTOM_X, which is neither"),
        ([provider("a", inventories={"CUSTOM_X": {"total": 1}})], [], "inventory of CUSTOM_X, which is neither"),
        ([], [consumer("c", {"gone": {"VCPU": 1}})], r"consumer c claims from provider gone.*DELETE /allocations/c"),
        (
            [provider("a")],
            [consumer("c", {"a": {"VCPU": 1}})],
            "claims VCPU from provider a, which has no such inventory",
        ),
    ],
)
def test_what_does_not_hold_together_is_refused_before_anything_is_written(
    opened: Callable[[], EmbeddedStore],
    providers: list[tuple[ProviderDocument, int]],
    consumers: list[ConsumerDocument],
    sentence: str,
) -> None:
    broken = Snapshot(1, providers, consumers, {}, {})
    with pytest.raises(BrokenGraph, match=sentence):
        check_whole(broken, "here")
    target = opened()
    with pytest.raises(BrokenGraph, match=f"a file: .*{sentence}"):
        bring(target, list(archive.write(broken)))
    assert is_empty(target)
    assert target.fetch_revision() == 0


# Targets that are not empty


def test_a_store_with_anything_else_is_refused(opened: Callable[[], EmbeddedStore], lines: list[bytes]) -> None:
    for write in (
        lambda store: store.create_trait("CUSTOM_OTHER"),
        lambda store: store.create_resource_class("CUSTOM_GPU"),
        lambda store: store.create_provider(name(0), "renamed", None),
        lambda store: fill(store, 1),
    ):
        target = opened()
        write(target)
        before = without_revision(target), target.fetch_revision()
        with pytest.raises(Conflict, match=r"the store is not empty: it holds .*Import into an empty one"):
            bring(target, lines)
        assert (without_revision(target), target.fetch_revision()) == before


# Interruptions


class PowerCut(Exception):
    pass


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Have the n-th failpoint end the run; return the list of those that were passed."""
    passed: list[str] = []

    def failpoint(point: str) -> None:
        passed.append(point)
        if len(passed) == number:
            raise PowerCut(point)

    monkeypatch.setattr(importing, "failpoint", failpoint)
    return passed


def test_broken_off_at_any_point_it_goes_on(
    opened: Callable[[], EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened()
    fill(source, 60)
    lines = lines_of(source)
    passed = cut_at(monkeypatch, -1)
    bring(opened(), lines)
    points = list(passed)
    assert points.count("import.restored") >= 5
    assert {points[0], *points[-2:]} == {"import.begun", "import.compared", "import.finished"}
    for number, point in enumerate(points, start=1):
        target = opened()
        cut_at(monkeypatch, number)
        with pytest.raises(PowerCut):
            bring(target, lines)
        cut_at(monkeypatch, -1)
        if point != "import.finished":
            nothing_is_served(target)
        outcome = bring(target, lines)
        assert outcome.resumed == (point != "import.finished")
        assert comparable(lines_of(target)) == comparable(lines)


def test_broken_off_at_any_point_it_can_be_dropped(
    opened: Callable[[], EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened()
    fill(source, 60)
    lines = lines_of(source)
    for number in (1, 2, 4, 5):
        target = opened()
        cut_at(monkeypatch, number)
        with pytest.raises(PowerCut):
            bring(target, lines)
        # The drop is broken off as well, and done again.
        passed = cut_at(monkeypatch, 2)
        if number > 3:
            with pytest.raises(PowerCut):
                abandon_import(target, print)
            assert passed == ["import.removed", "import.removed"]
            nothing_is_served(target)
        cut_at(monkeypatch, -1)
        assert abandon_import(target, print) is not None
        assert is_empty(target)
        assert abandon_import(target, print) is None
        assert target.check_health()["graph"] == "ok"
        bring(target, lines)
        assert comparable(lines_of(target)) == comparable(lines)


def test_one_that_was_being_dropped_can_be_finished_after_all(
    opened: Callable[[], EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = opened(), opened()
    fill(source, 60)
    lines = lines_of(source)
    cut_at(monkeypatch, 6)
    with pytest.raises(PowerCut):
        bring(target, lines)
    cut_at(monkeypatch, 1)
    with pytest.raises(PowerCut):
        abandon_import(target, print)
    cut_at(monkeypatch, -1)
    bring(target, lines)
    assert comparable(lines_of(target)) == comparable(lines)


def nothing_is_served(store: EmbeddedStore) -> None:
    assert "an import of the graph" in store.check_health()["graph"]
    for call in (
        lambda: store.list_providers(ProviderFilter()),
        store.take_snapshot,
        store.follow_changes,
        lambda: store.create_provider(name(999), "x", None),
        lambda: store.create_trait("CUSTOM_FAST"),
        lambda: store.release(name(0, "consumer")),
        lambda: store.list_usages("project", None, None),
    ):
        with pytest.raises(Unavailable, match="run etcdcompute graph import again with the same file, or drop it"):
            call()


def test_another_file_does_not_go_on(opened: Callable[[], EmbeddedStore], monkeypatch: pytest.MonkeyPatch) -> None:
    source, other, target = opened(), opened(), opened()
    fill(source, 60)
    fill(other, 60, seed=1)
    cut_at(monkeypatch, 3)
    with pytest.raises(PowerCut):
        bring(target, lines_of(source))
    cut_at(monkeypatch, -1)
    with pytest.raises(Conflict, match=r"an import of another file .* is not finished here"):
        bring(target, lines_of(other))
    bring(target, lines_of(source))


# Others meanwhile


class Late(MemoryJournal):
    """A journal whose news come late: a service that decides before it hears of the import."""

    def __init__(self, of: MemoryJournal) -> None:
        super().__init__()
        self._of = of

    def commit(self, change: Change, deadline: Deadline) -> int:
        return self._of.commit(change, deadline)

    def ask_head(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        return self._of.ask_head(told, deadline)

    def follow(self, sink: Sink, stop: threading.Event) -> None:
        sink.reset((), 0)
        stop.wait()


def test_who_has_not_heard_of_it_cannot_write_either() -> None:
    journal = MemoryJournal()
    target, late = EmbeddedStore(journal), EmbeddedStore(Late(journal), request_timeout_s=0.3)
    try:
        target.start()
        late.start()
        target.begin_import(ImportDocument(run="r", checksum="c", revision=1), 0)
        with pytest.raises(Unavailable):
            late.create_provider(name(0), "x", None)
        assert not target.inspect().snapshot.providers
        target.finish_import("r")
        target.create_provider(name(0), "x", None)
    finally:
        target.close()
        late.close()


def test_two_at_once_do_not_mix(opened: Callable[[], EmbeddedStore], lines: list[bytes]) -> None:
    target = opened()
    target.begin_import(ImportDocument(run="first", checksum="c", revision=1), 0)
    with pytest.raises(Conflict, match="somebody else writes"):
        target.begin_import(ImportDocument(run="third", checksum="c", revision=1), 0)
    target.begin_import(ImportDocument(run="second", checksum="c", revision=1), target.fetch_revision())
    calls: list[Callable[[], None]] = [
        lambda: target.import_documents(Change(), "first"),
        lambda: target.finish_import("first"),
    ]
    for call in calls:
        with pytest.raises(Conflict, match="let only one run at a time"):
            call()
    target.finish_import("second")
    with pytest.raises(Conflict, match="let only one run at a time"):
        target.finish_import("second")


def test_what_stands_in_the_way_unseen_is_not_overwritten(opened: Callable[[], EmbeddedStore]) -> None:
    target = opened()
    fill(target, 1)
    target.begin_import(ImportDocument(run="r", checksum="c", revision=1), target.fetch_revision())
    change = Change()
    change.put(Ref(Kind.PROVIDER, name(0)), ProviderDocument(uuid=name(0), name="x"))
    with pytest.raises(Conflict):
        target.import_documents(change, "r")
    target.finish_import("r")
    assert target.get_provider(name(0)).name == "renamed"


def test_a_difference_at_the_end_is_told_and_nothing_is_served(
    opened: Callable[[], EmbeddedStore], lines: list[bytes]
) -> None:
    target = opened()

    def reread() -> Holdings:
        held = target.inspect()
        first, second, *providers = held.snapshot.providers
        changed = (first[0], first[1] + 1)
        snapshot = Snapshot(1, [changed, second, *providers], held.snapshot.consumers[1:], {}, {"CUSTOM_GPU": 1.0})
        return Holdings(snapshot, held.importing)

    outcome = import_archive(target, archive.read(lines, "a file"), "a file", reread, print)
    told = " ".join(outcome.differences)
    assert "trait CUSTOM_FAST is missing" in told
    assert "is different" in told
    assert any(each.startswith("consumer ") and each.endswith("is missing") for each in outcome.differences)
    nothing_is_served(target)


def test_long_imports_say_how_far_they_are(
    opened: Callable[[], EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_TELL_EVERY_S", 0.0)
    source, target = opened(), opened()
    fill(source, 60)
    told: list[str] = []
    bring(target, lines_of(source), told.append)
    assert told[0].startswith("imported ")
    assert told[-1] == "imported 243 of 243 documents"


def test_a_document_larger_than_a_batch_goes_alone() -> None:
    long = {f"CUSTOM_{number:05}_{'X' * 200}": {"total": 1} for number in range(5000)}
    large = provider("b", inventories=long)
    found = list(importing._batches(importing.units(Snapshot(1, [provider("a"), large, provider("c")], [], {}, {}))))
    assert [[unit[0][0].id for unit in batch] for batch in found] == [["a"], ["b"], ["c"]]


def test_memory_is_no_place_to_carry_anything_to() -> None:
    from etcdcompute.cli.app import run

    assert run(["graph", "export", "--graph", "memory://"]) == 2
    assert run(["graph", "import", "--graph", "memory://", "--abandon"]) == 2
    assert issubclass(BadArchive, InvalidInput)
