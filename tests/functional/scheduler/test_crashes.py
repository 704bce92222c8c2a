"""The scheduler may die anywhere, etcd and placement may go away: nothing is lost, nothing is doubled."""

import signal
import threading
import uuid

import pytest

from etcdcompute.errors import Stopped
from etcdcompute.kv.records import Compare, PutEvent, Remove
from etcdcompute.model import Assignment, Phase, PowerState, keys
from etcdcompute.model.clock import timestamp
from etcdcompute.operations import create_instance, delete_instance, set_power_state
from etcdcompute.scheduler.reconcile import Outcome, Reconciler
from etcdcompute.scheduler.view import View
from tests.functional.frozen import freeze
from tests.functional.scheduler.cloud import Cloud, new_instance
from tests.functional.waiting import eventually


@pytest.mark.parametrize("point", ["pending_written", "claimed", "assigned"])
def test_killed_at_each_step_of_a_create_the_next_scheduler_ends_it(cloud: Cloud, point: str) -> None:
    hosts = [cloud.add_host(f"etcd{number}") for number in (1, 2, 3)]
    cloud.arm(f"scheduler.{point}", "kill")
    first = cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    assert first.wait() == -signal.SIGKILL
    cloud.start_scheduler()
    assignment = cloud.wait_assigned(instance.uuid)
    assert len(cloud.assignments(instance.uuid)) == 1
    assert cloud.placement.get_allocations(instance.uuid).allocations == {assignment.host: dict(instance.resources)}
    assert sum(cloud.placement.get_usages(host).usages["VCPU"] for host in hosts) == 1
    status = cloud.wait_status(instance.uuid, lambda status: status.phase is Phase.ASSIGNED)
    assert status.host_uuid == assignment.host


@pytest.mark.parametrize("point", ["released", "keys_removed"])
def test_killed_at_each_step_of_a_delete_the_next_scheduler_ends_it(cloud: Cloud, point: str) -> None:
    cloud.add_host("etcd1")
    claimed = cloud.arm("scheduler.claimed", "kill")
    first = cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    assert first.wait() == -signal.SIGKILL
    assert not claimed.exists()
    delete_instance(cloud.store, "web-1")
    cloud.arm(f"scheduler.{point}", "kill")
    second = cloud.start_scheduler(wait=False)
    assert second.wait() == -signal.SIGKILL
    cloud.start_scheduler()
    cloud.wait_gone(instance)


def test_killed_after_a_relay_nothing_is_relayed_twice(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    cloud.arm("scheduler.relayed", "kill")
    first = cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    set_power_state(cloud.store, "web-1", PowerState.STOPPED)
    assert first.wait() == -signal.SIGKILL
    cloud.wait_assigned(instance.uuid, generation=2)
    revision = cloud.store.current_revision()
    cloud.start_scheduler()
    later = new_instance("later")
    create_instance(cloud.store, later)
    cloud.wait_assigned(later.uuid)
    listing = cloud.store.read_prefix(keys.ASSIGNMENTS)
    (item,) = (each for each in listing.items if keys.last_segment(each.key) == instance.uuid)
    assert item.mod_revision <= revision


def test_a_delete_between_claim_and_assignment_ends_in_nothing(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    held = cloud.arm("scheduler.claimed", "hold")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    eventually(held.exists, "the scheduler has claimed")
    delete_instance(cloud.store, "web-1")
    held.unlink()
    cloud.wait_gone(instance)


def test_an_instance_that_is_removed_by_hand_between_claim_and_assignment_leaves_no_claim(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    held = cloud.arm("scheduler.claimed", "hold")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    eventually(held.exists, "the scheduler has claimed")
    assert cloud.placement.get_allocations(instance.uuid).allocations
    cloud.store.commit([], [Remove(keys.instance(instance.uuid)), Remove(keys.instance_name("web-1"))])
    held.unlink()
    eventually(lambda: not cloud.placement.get_allocations(instance.uuid).allocations, "the claim is released")
    assert cloud.assignments(instance.uuid) == []


def test_a_claim_on_a_host_that_died_meanwhile_moves_to_another(cloud: Cloud) -> None:
    first_host = cloud.add_host("etcd1")
    cloud.arm("scheduler.claimed", "kill")
    first = cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    first.wait()
    cloud.set_alive(first_host, alive=False)
    second_host = cloud.add_host("etcd2")
    cloud.start_scheduler()
    assert cloud.wait_assigned(instance.uuid).host == second_host
    assert set(cloud.placement.get_allocations(instance.uuid).allocations) == {second_host}


def test_a_leader_that_was_suspended_writes_nothing_when_it_comes_back(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    held = cloud.arm("scheduler.claimed", "hold")
    old = cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    eventually(held.exists, "the scheduler has claimed")
    freeze(old.process.pid)
    cloud.start_scheduler()  # leads when the old one's lease has expired, and resumes the claim
    cloud.wait_assigned(instance.uuid)
    delete_instance(cloud.store, "web-1")
    cloud.wait_assigned(instance.uuid, generation=2)
    cloud.undo(cloud.assignments(instance.uuid)[0].host, instance)
    held.unlink()
    old.process.send_signal(signal.SIGCONT)
    eventually(lambda: "not leading any more" in old.log, "the old one knows")
    cloud.wait_gone(instance)


def test_of_several_schedulers_one_leads_and_another_takes_over(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    first = cloud.start_scheduler()
    cloud.start_scheduler(wait=False)
    one, two = new_instance("one"), new_instance("two")
    create_instance(cloud.store, one)
    cloud.wait_assigned(one.uuid)
    first.end(signal.SIGKILL)
    create_instance(cloud.store, two)
    cloud.wait_assigned(two.uuid)


def test_placement_being_down_is_said_in_the_status_and_waited_out(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    placement = cloud.start_placement_again()
    cloud.start_scheduler()
    placement.end()
    instance, tombstone = new_instance(), new_instance("gone", deleted=True)
    create_instance(cloud.store, instance)
    create_instance(cloud.store, tombstone)
    status = cloud.wait_status(instance.uuid, lambda status: status.code == "placement_unavailable")
    assert status.phase is Phase.PENDING
    assert cloud.placement_url in status.message
    status = cloud.wait_status(tombstone.uuid, lambda status: status.code == "placement_unavailable")
    assert status.phase is Phase.DELETING
    cloud.start_placement()
    cloud.wait_assigned(instance.uuid)
    cloud.wait_gone(tombstone)


def test_an_assignment_whose_answer_was_lost_is_found_before_anything_is_written(cloud: Cloud) -> None:
    """The scheduler does not know of an assignment that is in the store: as after an OutcomeUnknown."""
    host = cloud.add_host("etcd1")
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.report(instance.uuid, host, phase=Phase.RUNNING, observed_generation=1)
    assignment = Assignment(instance=instance.uuid, host=host, generation=1, assigned_at=timestamp())
    cloud.write(keys.assignment(host, instance.uuid), assignment.to_json())
    view, lost = View(), threading.Event()
    item = cloud.store.get(keys.instance(instance.uuid))
    assert item is not None
    view.apply(keys.INSTANCES, PutEvent(item.mod_revision, item))
    guard = Compare.absent(keys.SCHEDULER_LEADER)
    reconciler = Reconciler(cloud.store, cloud.placement, view, guard=guard, lost=lost)
    before = cloud.store.current_revision()
    assert reconciler.reconcile(instance.uuid) is Outcome.AGAIN
    assert reconciler.reconcile(instance.uuid) is Outcome.DONE
    assert cloud.store.current_revision() == before


def test_without_the_lead_nothing_is_written(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    instance = new_instance()
    create_instance(cloud.store, instance)
    view = View()
    item = cloud.store.get(keys.instance(instance.uuid))
    assert item is not None
    view.apply(keys.INSTANCES, PutEvent(item.mod_revision, item))
    guard = Compare.present(keys.SCHEDULER_LEADER)  # which nobody holds
    lost = threading.Event()
    reconciler = Reconciler(cloud.store, cloud.placement, view, guard=guard, lost=lost)
    assert reconciler.reconcile(instance.uuid) is Outcome.AGAIN
    assert cloud.status(instance.uuid) is None
    lost.set()
    with pytest.raises(Stopped):
        reconciler.reconcile(instance.uuid)


def test_an_etcd_that_restarts_loses_nothing(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    scheduler = cloud.start_scheduler()
    before, after = new_instance("before"), new_instance("after")
    create_instance(cloud.store, before)
    cloud.etcd.restart(kill=True)
    create_instance(cloud.store, after)
    cloud.wait_assigned(before.uuid)
    cloud.wait_assigned(after.uuid)
    assert scheduler.process.poll() is None


def test_an_etcd_that_is_away_longer_than_the_leadership_lasts_is_waited_out(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    scheduler = cloud.start_scheduler()
    cloud.etcd.stop()
    eventually(lambda: "not leading any more" in scheduler.log, "the leadership is lost")
    cloud.etcd.start()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)


def test_documents_that_do_not_parse_end_in_the_status_and_do_no_harm(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    broken, misplaced, odd = str(uuid.uuid4()), str(uuid.uuid4()), "not-a-uuid"
    other = new_instance("other")
    cloud.write(keys.instance(broken), b'{"schema": 1, "name": "x", "colour": "red"}')
    cloud.write(keys.instance(misplaced), other.to_json())
    cloud.write(keys.instance(odd), new_instance("odd").to_json())
    cloud.write(keys.instance("odd/ly"), b"nonsense")
    for key in (broken, misplaced, odd, "odd/ly"):
        status = cloud.wait_status(key, lambda status: status.phase is Phase.ERROR)
        assert status.code == "invalid_document"
        assert status.message.startswith("instance: ")
    good = new_instance("good")
    create_instance(cloud.store, good)
    assert cloud.wait_assigned(good.uuid).host == host
    for key in (broken, misplaced, odd, "odd/ly"):
        delete_instance(cloud.store, key)
        eventually(lambda key=key: cloud.store.get(keys.instance(key)) is None, f"{key} is gone")  # type: ignore[misc]
        eventually(lambda key=key: cloud.store.get(keys.instance_status(key)) is None, f"status {key}")  # type: ignore[misc]


def test_a_document_that_breaks_when_it_has_a_host_is_reported_and_can_be_deleted_there(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    set_power_state(cloud.store, "web-1", PowerState.STOPPED)
    cloud.wait_assigned(instance.uuid, generation=2)
    cloud.write(keys.instance(instance.uuid), b"[]")
    status = cloud.wait_status(instance.uuid, lambda status: status.phase is Phase.ERROR)
    assert (status.code, status.host_uuid) == ("invalid_document", host)
    delete_instance(cloud.store, "web-1")
    cloud.wait_assigned(instance.uuid, generation=3)
    tombstone = cloud.instance(instance.uuid)
    assert tombstone is not None
    assert (tombstone.name, tombstone.deleted) == ("web-1", True)


def test_a_document_that_is_repaired_is_placed(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    cloud.write(keys.instance(instance.uuid), b"{}")
    cloud.wait_status(instance.uuid, lambda status: status.phase is Phase.ERROR)
    cloud.write(keys.instance(instance.uuid), instance.to_json())
    cloud.wait_assigned(instance.uuid)
