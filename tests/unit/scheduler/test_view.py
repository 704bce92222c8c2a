"""The scheduler's picture of the store, as watches and its own writes change it."""

from etcdcompute.kv.records import DeleteEvent, Item, Progress, PutEvent, Snapshot
from etcdcompute.model import Assignment, Host, HostCapabilities, HostVersions, ImageSource, Instance, keys
from etcdcompute.scheduler.view import AssignmentRecord, Change, View

A = "aaaaaaaa-0000-4000-8000-000000000001"
B = "bbbbbbbb-0000-4000-8000-000000000002"
H = "cccccccc-0000-4000-8000-000000000003"
NOW = "2026-01-31T09:05:00.123Z"


def item(key: str, value: bytes, revision: int) -> Item:
    return Item(key, value, revision, revision, 1)


def instance(uuid: str, revision: int, *, generation: int = 1, deleted: bool = False) -> Item:
    document = Instance(
        uuid=uuid,
        name="web-1",
        generation=generation,
        image=ImageSource(url="/images/x", sha256="0" * 64),
        resources={"VCPU": 1, "MEMORY_MB": 1, "DISK_GB": 1},
        deleted=deleted,
        created_at=NOW,
    )
    return item(keys.instance(uuid), document.to_json(), revision)


def assignment(uuid: str, revision: int, *, generation: int = 1) -> Item:
    document = Assignment(instance=uuid, host=H, generation=generation, assigned_at=NOW)
    return item(keys.assignment(H, uuid), document.to_json(), revision)


def host(revision: int, *, cordoned: bool = False) -> Item:
    document = Host(
        uuid=H,
        name="etcd1",
        address="192.0.2.1",
        versions=HostVersions(etcdcompute="0"),
        capabilities=HostCapabilities(arch="x86_64", virt_type="qemu", virt_reason="asked for"),
        cordoned=cordoned,
        registered_at=NOW,
        updated_at=NOW,
    )
    return item(keys.host(H), document.to_json(), revision)


def test_an_instance_that_comes_is_to_be_looked_at() -> None:
    view = View()
    assert view.apply(keys.INSTANCES, PutEvent(5, instance(A, 5))) == Change(frozenset({A}))
    record, assignments, _ = view.get_instance(A)
    assert record is not None
    assert (record.revision, record.generation, record.deleted, record.error) == (5, 1, False, None)
    assert assignments == {}
    assert view.get_unassigned() == (A,)


def test_documents_that_do_not_parse_are_kept_as_errors() -> None:
    view = View()
    view.apply(keys.INSTANCES, PutEvent(5, item(keys.instance(A), b"{", 5)))
    view.apply(keys.INSTANCES, PutEvent(6, item(keys.instance("nonsense"), instance(A, 6).value, 6)))
    view.apply(keys.INSTANCES, PutEvent(7, item(keys.instance(B), instance(A, 7).value, 7)))
    errors = [record.error for uuid in (A, "nonsense", B) if (record := view.get_instance(uuid)[0])]
    assert errors[0] is not None
    assert errors[0].startswith("instance:")
    assert errors[1] is not None
    assert "'nonsense', which is not a uuid" in errors[1]
    assert errors[2] is not None
    assert f"says uuid {A} but lies under the key of {B}" in errors[2]


def test_capacity_is_news_when_a_host_comes_is_uncordoned_or_alive_again_or_an_instance_goes() -> None:
    view = View()
    assert view.apply(keys.HOSTS, PutEvent(5, host(5, cordoned=True))).capacity
    assert not view.apply(keys.HOSTS, PutEvent(6, host(6, cordoned=True))).capacity
    assert view.apply(keys.HOSTS, PutEvent(7, host(7))).capacity
    assert not view.get_hosts().takes_instances(H)
    assert view.apply(keys.ALIVE, PutEvent(8, item(keys.alive(H), b"", 8))).capacity
    assert view.get_hosts().takes_instances(H)
    assert not view.apply(keys.ALIVE, DeleteEvent(9, keys.alive(H))).capacity
    assert not view.get_hosts().takes_instances(H)
    view.apply(keys.ASSIGNMENTS, PutEvent(10, assignment(A, 10)))
    assert view.apply(keys.ASSIGNMENTS, DeleteEvent(11, keys.assignment(H, A))).capacity


def test_a_host_whose_document_breaks_takes_no_instances() -> None:
    view = View()
    view.apply(keys.HOSTS, PutEvent(5, host(5)))
    view.apply(keys.ALIVE, PutEvent(6, item(keys.alive(H), b"", 6)))
    view.apply(keys.HOSTS, PutEvent(7, item(keys.host(H), b"[]", 7)))
    assert not view.get_hosts().takes_instances(H)


def test_an_own_assignment_is_known_before_the_watch_tells_and_survives_an_older_snapshot() -> None:
    view = View()
    view.apply(keys.ASSIGNMENTS, Snapshot(10, (), "start"))
    view.note_assignment(H, A, AssignmentRecord(12, 1))
    view.apply(keys.ASSIGNMENTS, Snapshot(11, (), "compacted"))
    assert view.get_instance(A)[1] == {H: AssignmentRecord(12, 1)}
    view.apply(keys.ASSIGNMENTS, DeleteEvent(11, keys.assignment(H, A)))
    assert view.get_instance(A)[1] == {H: AssignmentRecord(12, 1)}
    view.apply(keys.ASSIGNMENTS, DeleteEvent(13, keys.assignment(H, A)))
    assert view.get_instance(A)[1] == {}


def test_an_own_assignment_that_is_noted_after_its_removal_was_seen_does_not_come_back() -> None:
    view = View()
    view.apply(keys.ASSIGNMENTS, PutEvent(12, assignment(A, 12)))
    view.apply(keys.ASSIGNMENTS, DeleteEvent(13, keys.assignment(H, A)))
    view.note_assignment(H, A, AssignmentRecord(12, 1))
    assert view.get_instance(A)[1] == {}
    view.apply(keys.ASSIGNMENTS, Progress(20))
    view.note_assignment(H, B, AssignmentRecord(19, 1))
    assert view.get_instance(B)[1] == {}


def test_an_assignment_that_does_not_parse_counts_as_one_of_generation_0() -> None:
    view = View()
    view.apply(keys.ASSIGNMENTS, PutEvent(5, item(keys.assignment(H, A), b"?", 5)))
    assert view.get_instance(A)[1] == {H: AssignmentRecord(5, 0)}


def test_a_snapshot_replaces_what_was_known_and_has_what_is_gone_looked_at_too() -> None:
    view = View()
    view.apply(keys.INSTANCES, PutEvent(5, instance(A, 5)))
    change = view.apply(keys.INSTANCES, Snapshot(9, (instance(B, 8),), "compacted"))
    assert change.instances == {A, B}
    assert view.get_instances() == (B,)


def test_what_was_reported_is_forgotten_with_the_instance() -> None:
    view = View()
    view.apply(keys.INSTANCES, PutEvent(5, item(keys.instance(A), b"{", 5)))
    view.note_reported(A, 5)
    assert view.get_instance(A)[2] == 5
    view.apply(keys.INSTANCES, DeleteEvent(6, keys.instance(A)))
    assert view.get_instance(A)[2] == 0
