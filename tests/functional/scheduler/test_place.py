"""Instances find hosts."""

import signal
import threading
import time
from collections import Counter

import msgspec

from etcdcompute.kv.records import PutEvent
from etcdcompute.model import Host, Phase, PowerState, keys
from etcdcompute.operations import create_instance, delete_instance, set_cordoned, set_power_state
from tests.functional.scheduler.cloud import Cloud, new_instance
from tests.functional.waiting import eventually


def test_an_instance_is_claimed_and_assigned_and_the_status_says_so(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    assignment = cloud.wait_assigned(instance.uuid)
    assert (assignment.host, assignment.generation) == (host, 1)
    held = cloud.placement.get_allocations(instance.uuid)
    assert held.allocations == {host: dict(instance.resources)}
    assert held.consumer_type == "INSTANCE"
    status = cloud.status(instance.uuid)
    assert status is not None
    assert (status.phase, status.host, status.host_uuid, status.code) == (Phase.ASSIGNED, "etcd1", host, "")


def test_what_was_put_while_no_scheduler_ran_is_carried_out_when_one_comes(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.start_scheduler()
    cloud.wait_assigned(instance.uuid)


def test_many_creates_at_once_are_all_carried_out_and_fill_the_hosts_exactly(cloud: Cloud) -> None:
    hosts = [cloud.add_host(f"etcd{number}", vcpus=4) for number in (1, 2, 3)]
    cloud.start_scheduler()
    instances = [new_instance(f"web-{number}") for number in range(12)]
    threads = [threading.Thread(target=create_instance, args=(cloud.store, each)) for each in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    placed = Counter(cloud.wait_assigned(each.uuid).host for each in instances)
    assert placed == dict.fromkeys(hosts, 4)
    for host in hosts:
        assert cloud.placement.get_usages(host).usages["VCPU"] == 4


def test_an_instance_that_fits_nowhere_says_why_and_is_placed_when_another_goes(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1", vcpus=2)
    cloud.start_scheduler()
    first, second = new_instance("first", vcpus=2), new_instance("second", vcpus=2)
    create_instance(cloud.store, first)
    cloud.wait_assigned(first.uuid)
    create_instance(cloud.store, second)
    status = cloud.wait_status(second.uuid, lambda status: status.code == "no_host")
    assert status.phase is Phase.PENDING
    assert status.message == (
        "no host fits VCPU:2, MEMORY_MB:256, DISK_GB:1: of 1 host alive, VCPU 2 wanted, the largest free is 0 (etcd1)"
    )
    delete_instance(cloud.store, "first")
    cloud.wait_assigned(first.uuid, generation=2)
    cloud.undo(host, first)
    cloud.wait_assigned(second.uuid)


def test_a_pending_instance_is_placed_when_a_host_comes_or_is_uncordoned(cloud: Cloud) -> None:
    cloud.start_scheduler(ETCDCOMPUTE_SCHEDULER_RETRY_INTERVAL_S="600")
    first, second = new_instance("first"), new_instance("second")
    create_instance(cloud.store, first)
    status = cloud.wait_status(first.uuid, lambda status: status.code == "no_host")
    assert status.message.endswith("no compute host is registered yet")
    cloud.add_host("etcd1")
    cloud.wait_assigned(first.uuid)
    set_cordoned(cloud.store, "etcd1", cordoned=True)
    create_instance(cloud.store, second)
    status = cloud.wait_status(second.uuid, lambda status: status.code == "no_host")
    assert status.message.endswith("1 host alive, all cordoned (etcd1)")
    set_cordoned(cloud.store, "etcd1", cordoned=False)
    cloud.wait_assigned(second.uuid)


def test_a_host_that_is_not_alive_gets_nothing_until_it_is(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.set_alive(host, alive=False)
    cloud.start_scheduler(ETCDCOMPUTE_SCHEDULER_RETRY_INTERVAL_S="600")
    instance = new_instance()
    create_instance(cloud.store, instance)
    status = cloud.wait_status(instance.uuid, lambda status: status.code == "no_host")
    assert status.message.endswith("1 host registered, none alive (etcd1)")
    cloud.set_alive(host)
    cloud.wait_assigned(instance.uuid)


def test_a_limit_for_one_instance_is_the_reason_where_the_sums_would_fit(cloud: Cloud) -> None:
    cloud.add_host("etcd1", vcpus=8, max_unit=2)
    cloud.start_scheduler()
    instance = new_instance(vcpus=4)
    create_instance(cloud.store, instance)
    status = cloud.wait_status(instance.uuid, lambda status: status.code == "no_host")
    assert status.message.endswith("VCPU 4 wanted, but an instance may have at most 2 on etcd1")


def test_unknown_traits_and_resource_classes_have_their_own_sentence(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    cloud.start_scheduler()
    trait = new_instance("trait", required_traits=("CUSTOM_FAST",))
    resource = new_instance("resource", resources={"VCPU": 1, "MEMORY_MB": 1, "DISK_GB": 1, "CUSTOM_LICENSE": 1})
    create_instance(cloud.store, trait)
    create_instance(cloud.store, resource)
    status = cloud.wait_status(trait.uuid, lambda status: status.code != "")
    assert (status.phase, status.code) == (Phase.PENDING, "unknown_name")
    assert "placement knows no trait CUSTOM_FAST" in status.message
    status = cloud.wait_status(resource.uuid, lambda status: status.code != "")
    assert "placement knows no resource class CUSTOM_LICENSE" in status.message
    cloud.placement.create_trait("CUSTOM_FAST")
    status = cloud.wait_status(trait.uuid, lambda status: status.code == "no_host")
    assert status.message.endswith("none has the trait CUSTOM_FAST")


def test_a_change_is_relayed_to_the_host(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    before = cloud.wait_assigned(instance.uuid)
    set_power_state(cloud.store, "web-1", PowerState.STOPPED)
    after = cloud.wait_assigned(instance.uuid, generation=2)
    assert after == msgspec.structs.replace(before, generation=2)


def test_a_delete_of_what_has_no_host_leaves_nothing(cloud: Cloud) -> None:
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_status(instance.uuid, lambda status: status.code == "no_host")
    delete_instance(cloud.store, "web-1")
    cloud.wait_gone(instance)


def test_a_delete_of_what_has_a_host_is_relayed_and_nothing_is_removed(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    delete_instance(cloud.store, "web-1")
    cloud.wait_assigned(instance.uuid, generation=2)
    assert cloud.placement.get_allocations(instance.uuid).allocations
    cloud.undo(host, instance)
    cloud.wait_gone(instance)


def test_the_name_of_another_instance_survives_the_removal_of_one_that_claims_it(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    cloud.start_scheduler()
    owner = new_instance()
    create_instance(cloud.store, owner)
    intruder = new_instance(deleted=True)
    cloud.write(keys.instance(intruder.uuid), intruder.to_json())
    cloud.wait_gone(intruder)
    name = cloud.store.get(keys.instance_name("web-1"))
    assert name is not None
    assert name.value.decode() == owner.uuid


def test_from_the_spec_to_the_assignment_takes_little_time_and_memory(cloud: Cloud) -> None:
    cloud.add_host("etcd1", vcpus=100, memory_mib=100_000)
    scheduler = cloud.start_scheduler()
    took_ms = []
    stop = threading.Event()
    with cloud.store.watch(keys.ASSIGNMENTS, stop=stop) as events:
        # A new watch gets its first events late (etcd catches it up ten times a second): the first create is not timed.
        for number in range(9):
            instance = new_instance(f"web-{number}")
            started = time.monotonic()
            create_instance(cloud.store, instance)
            for event in events:
                if isinstance(event, PutEvent) and keys.last_segment(event.item.key) == instance.uuid:
                    break
            took_ms.append((time.monotonic() - started) * 1000)
        stop.set()
    del took_ms[0]
    print(f"\nspec to assignment: {', '.join(f'{each:.0f}' for each in took_ms)} ms; {scheduler.resident_mib:.0f} MiB")
    # Far from the 50 ms that it takes alone on a machine: this is no measurement, it finds what waits for a timer.
    assert sorted(took_ms)[len(took_ms) // 2] < 1000
    assert scheduler.resident_mib < 100


def test_a_host_whose_document_is_broken_gets_nothing(cloud: Cloud) -> None:
    broken = cloud.add_host("broken")
    cloud.write(keys.host(broken), b'{"schema": 1, "nonsense": true}')
    good = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instances = [new_instance(f"web-{number}") for number in range(4)]
    for instance in instances:
        create_instance(cloud.store, instance)
    assert {cloud.wait_assigned(instance.uuid).host for instance in instances} == {good}


def test_cordoning_does_not_move_what_is_there(cloud: Cloud) -> None:
    host = cloud.add_host("etcd1")
    cloud.start_scheduler()
    instance = new_instance()
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    changed, _ = set_cordoned(cloud.store, host, cordoned=True)
    assert isinstance(changed, Host)
    set_power_state(cloud.store, instance.uuid, PowerState.STOPPED)
    assert cloud.wait_assigned(instance.uuid, generation=2).host == host


def test_the_scheduler_stops_gracefully_and_makes_way_at_once(cloud: Cloud) -> None:
    first = cloud.start_scheduler()
    second = cloud.start_scheduler(wait=False)
    eventually(lambda: "campaigning" in second.log or "starts" in second.log, "the second is up")
    assert first.end(signal.SIGTERM) == 0
    eventually(lambda: cloud.leader() == "scheduler-2", "the second leads")
    assert "has stopped" in first.log
