"""Reads and transactions against a real etcd that is also stopped, killed and frozen."""

import socket
import threading
import time

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, InvalidInput, OutcomeUnknown, Stopped, Unavailable
from etcdcompute.kv.client import Client
from etcdcompute.kv.errors import LeaseLost, RequestTooLarge
from etcdcompute.kv.records import (
    Committed,
    Compare,
    Item,
    Operation,
    Rejected,
    Remove,
    RemovePrefix,
    Snapshot,
    Write,
)
from tests.functional.etcd_server import EtcdServer
from tests.functional.ports import free_ports


def test_a_key_is_written_read_and_removed(client: Client) -> None:
    assert client.get("/t/a") is None
    created = client.commit([Compare.absent("/t/a")], [Write("/t/a", b"\x00\xff")])
    assert isinstance(created, Committed)
    item = client.get("/t/a")
    assert item == Item("/t/a", b"\x00\xff", created.revision, created.revision, 1)
    removed = client.commit([Compare.unchanged(item)], [Remove("/t/a")])
    assert removed == Committed(created.revision + 1)
    assert client.get("/t/a") is None


def test_a_compare_that_does_not_hold_rejects_everything(client: Client, etcd: EtcdServer) -> None:
    client.commit([], [Write("/t/a", b"1")])
    before = client.get("/t/a")
    assert before is not None
    revision = etcd.put("/t/a", "2")
    for compare in (Compare.absent("/t/a"), Compare.unchanged(before), Compare.present("/t/b")):
        assert client.commit([compare], [Write("/t/b", b""), Remove("/t/a")]) == Rejected(revision)
    assert [item.key for item in client.read_prefix("/t/").items] == ["/t/a"]


def test_all_operations_are_one_revision(client: Client) -> None:
    client.commit([], [Write(f"/t/old/{number}", b"") for number in range(3)])
    done = client.commit([], [Write("/t/a", b"a"), Write("/t/b", b"b"), RemovePrefix("/t/old/")])
    listing = client.read_prefix("/t/")
    assert listing.revision == done.revision
    assert {item.mod_revision for item in listing.items} == {done.revision}
    assert [item.key for item in listing.items] == ["/t/a", "/t/b"]


def test_the_current_revision_is_that_of_the_last_write(client: Client, etcd: EtcdServer) -> None:
    assert client.current_revision() == etcd.revision()
    revision = etcd.put("/t/a", "1")
    assert client.current_revision() == revision


def test_keys_that_are_not_text_come_back_as_they_were(client: Client) -> None:
    key = b"/t/\xff\xfe".decode(errors="surrogateescape")
    client.commit([], [Write(key, b"1")])
    assert [item.key for item in client.read_prefix("/t/").items] == [key]
    assert client.get(key) is not None


def test_a_prefix_larger_than_a_message_is_one_consistent_listing(client: Client) -> None:
    big = 300 * 1024
    for number in range(30):
        client.commit([], [Write(f"/t/{number:04}", b"x" * big)])
    for block in range(10):
        client.commit([], [Write(f"/t/small/{block}/{number}", b"y") for number in range(100)])
    before = client.current_revision()
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            # Both keys change together: a listing that mixes revisions would show them apart.
            client.commit([], [Write("/t/0000", b"same"), Write("/t/zzzz", b"same"), Remove("/t/0015")])
            client.commit([], [Remove("/t/0000"), Remove("/t/zzzz"), Write("/t/0015", b"")])

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        for _ in range(3):
            listing = client.read_prefix("/t/")
            keys = [item.key for item in listing.items]
            assert listing.revision >= before
            assert keys == sorted(keys)
            assert max(item.mod_revision for item in listing.items) <= listing.revision
            if listing.revision > before:
                assert ("/t/0000" in keys) == ("/t/zzzz" in keys)
                assert ("/t/0000" in keys) != ("/t/0015" in keys)
            assert sum(key.startswith("/t/small/") for key in keys) == 1000
    finally:
        stop.set()
        writer.join()


def test_etcds_limits_are_named(client: Client) -> None:
    too_many: list[Operation] = [Write(f"/t/{number}", b"") for number in range(129)]
    with pytest.raises(RequestTooLarge, match="too many operations"):
        client.commit([], too_many)
    with pytest.raises(RequestTooLarge):
        client.commit([], [Write("/t/a", b"x" * 1_700_000)])
    with pytest.raises(RequestTooLarge):
        client.commit([], [Write("/t/a", b"x" * 9_000_000)])
    with pytest.raises(InvalidInput, match="duplicate key"):
        client.commit([], [Write("/t/a", b""), Write("/t/a", b"")])
    with pytest.raises(LeaseLost):
        client.commit([], [Write("/t/a", b"", lease=12345)])
    with pytest.raises(InvalidInput, match="empty"):
        client.get("")
    assert client.read_prefix("/t/").items == ()


def test_where_nobody_listens_nothing_was_changed() -> None:
    with Client([f"http://127.0.0.1:{port}" for port in free_ports(2)], request_timeout_s=0.5) as client:
        with pytest.raises(Unavailable, match=r"no etcd of http://127\.0\.0\.1"):
            client.commit([], [Write("/t/a", b"")])
        with pytest.raises(Unavailable):
            client.get("/t/a")


def test_reads_and_writes_wait_for_a_restart_within_their_deadline(client: Client, etcd: EtcdServer) -> None:
    client.commit([], [Write("/t/a", b"1")])
    etcd.kill()
    starter = threading.Timer(0.5, etcd.start)
    starter.start()
    try:
        item = client.get("/t/a", deadline=Deadline.after(20))
        assert item is not None
        assert item.value == b"1"
    finally:
        starter.join()
    etcd.stop()
    starter = threading.Timer(0.5, etcd.start)
    starter.start()
    try:
        # The connection is known to be gone, so nothing has been sent and the write may wait, too.
        done = client.commit([], [Write("/t/a", b"2")], deadline=Deadline.after(20))
        assert isinstance(done, Committed)
    except OutcomeUnknown:
        pytest.fail("the server was down before the write began")
    finally:
        starter.join()


def test_a_write_without_an_answer_has_an_unknown_outcome_and_is_sent_once(client: Client, etcd: EtcdServer) -> None:
    client.commit([], [Write("/t/a", b"0")])
    etcd.freeze()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        client.commit([], [Write("/t/a", b"1")], deadline=Deadline.after(0.5))
    assert time.monotonic() - started < 2
    with pytest.raises(Unavailable):
        client.get("/t/a", deadline=Deadline.after(0.3))
    # Not known to be up any more: the next write is not even sent.
    with pytest.raises(Unavailable):
        client.commit([], [Write("/t/a", b"2")], deadline=Deadline.after(0.3))
    etcd.thaw()
    item = client.get("/t/a", deadline=Deadline.after(20))
    assert item is not None
    assert item.value in (b"0", b"1")
    assert item.version <= 2


def test_a_read_that_was_begun_tells_when_its_answer_is_there(client: Client) -> None:
    done = client.commit([], [Write("/t/a", b"1")])
    for key, revision in (("/t/a", done.revision), ("/t/b", 0)):
        told = threading.Event()
        begun = client.begin_get(key, told.set)
        assert told.wait(10)
        assert begun.arrived
        item = begun.result()
        assert (item.mod_revision if item else 0) == revision


def test_a_read_that_cannot_begin_without_waiting_waits_for_its_result(client: Client, etcd: EtcdServer) -> None:
    etcd.put("/t/a", "1")
    told = threading.Event()
    # Nobody has been asked yet, so nobody is known to be up.
    begun = client.begin_get("/t/a", told.set)
    assert told.is_set()
    assert not begun.arrived
    item = begun.result()
    assert item is not None
    assert item.value == b"1"


def test_a_read_that_was_begun_ends_with_its_deadline_or_with_the_client(client: Client, etcd: EtcdServer) -> None:
    client.get("/t/a")
    etcd.freeze()
    told = threading.Event()
    begun = client.begin_get("/t/a", told.set, deadline=Deadline.after(0.5))
    assert told.wait(10)
    assert not begun.arrived
    with pytest.raises(Unavailable):
        begun.result()
    etcd.thaw()
    client.get("/t/a", deadline=Deadline.after(20))
    etcd.freeze()
    told = threading.Event()
    begun = client.begin_get("/t/a", told.set, deadline=Deadline.after(30))
    client.close()
    assert told.wait(10)
    with pytest.raises(Stopped):
        begun.result()


def test_a_deadline_that_has_passed_sends_nothing(client: Client) -> None:
    with pytest.raises(Unavailable):
        client.commit([], [Write("/t/a", b"1")], deadline=Deadline.after(-1))
    assert client.get("/t/a") is None


def test_closing_ends_calls_under_way_and_refuses_new_ones(client: Client, etcd: EtcdServer) -> None:
    client.get("/t/a")
    etcd.freeze()
    ended: list[EtcdComputeError] = []

    def read() -> None:
        try:
            client.get("/t/a", deadline=Deadline.after(30))
        except EtcdComputeError as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    closer = threading.Timer(0.3, client.close)
    closer.start()
    reader.join(5)
    closer.join()
    assert not reader.is_alive()
    assert isinstance(ended[0], Stopped)
    for call in (lambda: client.get("/t/a"), lambda: client.commit([], [Write("/t/a", b"")])):
        with pytest.raises(Stopped):
            call()
    client.close()


def test_many_threads_share_a_client(client: Client) -> None:
    def count() -> None:
        for _ in range(20):
            while True:
                item = client.get("/t/counter")
                value = int(item.value) if item else 0
                guard = Compare.unchanged(item) if item else Compare.absent("/t/counter")
                if isinstance(client.commit([guard], [Write("/t/counter", str(value + 1).encode())]), Committed):
                    break

    threads = [threading.Thread(target=count) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    item = client.get("/t/counter")
    assert item is not None
    assert item.value == b"100"


def test_an_address_that_takes_connections_and_says_nothing_is_passed_over(etcd: EtcdServer) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client([endpoint, etcd.endpoint], request_timeout_s=2) as client:
            assert isinstance(client.commit([], [Write("/t/a", b"1")]), Committed)
            assert client.get("/t/a") is not None
        with Client([endpoint, etcd.endpoint], request_timeout_s=2) as client, client.watch("/t/") as events:
            assert isinstance(next(events), Snapshot)
