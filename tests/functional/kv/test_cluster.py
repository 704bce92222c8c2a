"""Three members: one of them killed, frozen or cut off."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, OutcomeUnknown, Unavailable
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, PutEvent, Snapshot, Write
from tests.functional.etcd_server import EtcdCluster
from tests.functional.kv.conftest import Watcher

Watching = Callable[..., Watcher]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: EtcdCluster) -> EtcdCluster:
    """Three members that answer."""
    for member in running.members:
        if not member.running:
            member.start(wait=False)
        member.thaw()
    for member in running.members:
        member.wait_healthy()
    running.members[0].wipe()
    return running


def leader_first(cluster: EtcdCluster) -> list[str]:
    leader = cluster.leader().endpoint
    return [leader, *(endpoint for endpoint in cluster.endpoints if endpoint != leader)]


def write_until_committed(client: Client, key: str, deadline: Deadline) -> int:
    while True:
        try:
            return client.commit([], [Write(key, b"")], deadline=deadline).revision
        except OutcomeUnknown:
            assert not deadline.expired


def test_everything_goes_on_when_the_leader_is_killed(cluster: EtcdCluster, watching: Watching) -> None:
    leader = cluster.leader()
    with Client(leader_first(cluster)) as client:
        lost = threading.Event()
        lease = client.lease(20, on_lost=lost.set)
        client.commit([], [Write("/t/leased", b"", lease.id)])
        watcher = watching(client, "/t/")
        watcher.until(bool)
        committed = []
        for number in range(60):
            if number == 20:
                leader.kill()
            try:
                done = client.commit([], [Write("/t/a", b"")], deadline=Deadline.after(20))
                assert isinstance(done, Committed)
                committed.append(done.revision)
            except OutcomeUnknown:
                assert number >= 20
        end = client.commit([], [Write("/t/end", b"")], deadline=Deadline.after(20)).revision
        events = watcher.until(lambda events: events[-1].revision >= end)
        watcher.close()
        puts = [event.revision for event in events if isinstance(event, PutEvent)]
        assert puts == sorted(set(puts))
        assert set(committed) <= set(puts)
        assert len(committed) >= 55
        assert sum(isinstance(event, Snapshot) for event in events) == 1
        assert lease.alive
        assert not lost.is_set()
        lease.revoke()
        assert client.get("/t/leased") is None


def test_a_dead_member_costs_little_and_a_write_is_not_lost_to_it(cluster: EtcdCluster) -> None:
    # Not the leader: a write during an election may well have an unknown outcome.
    leader = cluster.leader()
    dead = next(member for member in cluster.members if member is not leader)
    others = [member.endpoint for member in cluster.members if member is not dead]
    dead.kill()
    with Client([dead.endpoint, *others]) as client:
        started = time.monotonic()
        # Nobody listens there: certain not to have been sent, so it goes to the next member.
        assert isinstance(client.commit([], [Write("/t/a", b"")]), Committed)
        assert client.get("/t/a") is not None
        assert time.monotonic() - started < 3


def test_a_frozen_member_is_left_by_reads_writes_and_watches(
    cluster: EtcdCluster, watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    leader = cluster.leader()
    frozen = next(member for member in cluster.members if member is not leader)
    others = [member.endpoint for member in cluster.members if member is not frozen]
    with Client([frozen.endpoint, *others]) as client, Client(others) as writer:
        watcher = watching(client, "/t/")
        watcher.until(bool)
        # An event shows that the watch stands: from then on only the keepalive can tell that nobody is there.
        standing = writer.commit([], [Write("/t/before", b"")]).revision
        watcher.until(lambda events: events[-1].revision >= standing)
        frozen.freeze()
        froze_at = time.monotonic()
        revision = writer.commit([], [Write("/t/a", b"")], deadline=Deadline.after(10)).revision
        with pytest.raises(OutcomeUnknown):
            client.commit([], [Write("/t/b", b"")], deadline=Deadline.after(0.5))
        assert client.current_revision() >= revision
        assert isinstance(client.commit([], [Write("/t/c", b"")]), Committed)
        # gRPC's keepalive finds out about the connection: 10 s and 5 s.
        watcher.until(lambda events: events[-1].revision >= revision, timeout_s=30)
        assert time.monotonic() - froze_at < 25
        assert "no sign of life" not in caplog.text
        watcher.close()
    frozen.thaw()


def test_a_read_that_was_begun_with_a_member_that_freezes_is_answered_by_another(cluster: EtcdCluster) -> None:
    leader = cluster.leader()
    frozen = next(member for member in cluster.members if member is not leader)
    others = [member.endpoint for member in cluster.members if member is not frozen]
    with Client([frozen.endpoint, *others]) as client:
        done = client.commit([], [Write("/t/a", b"")])
        frozen.freeze()
        told = threading.Event()
        begun = client.begin_get("/t/a", told.set, deadline=Deadline.after(4))
        assert not told.is_set()
        assert told.wait(10)
        item = begun.result()
        assert item is not None
        assert item.mod_revision == done.revision
    frozen.thaw()


def test_a_member_without_a_leader_serves_nothing_stale(cluster: EtcdCluster, watching: Watching) -> None:
    alone, *others = cluster.members
    with Client([alone.endpoint], request_timeout_s=0.5) as client:
        client.commit([], [Write("/t/a", b"old")])
        watcher = watching(client, "/t/")
        watcher.until(bool)
        for member in others:
            member.kill()
        until = Deadline.after(15)
        while not until.expired:
            try:
                client.commit([], [Write("/t/b", b"")])
            except OutcomeUnknown:
                continue
            except Unavailable:
                break
        with pytest.raises(EtcdComputeError, match=r"no leader|no time|Deadline"):
            client.get("/t/a")
        with pytest.raises(Unavailable):
            client.read_prefix("/t/")
        with pytest.raises(Unavailable):
            client.current_revision()
        for member in others:
            member.start(wait=False)
        revision = write_until_committed(client, "/t/c", Deadline.after(30))
        events = watcher.until(lambda events: events[-1].revision >= revision)
        assert sum(isinstance(event, Snapshot) for event in events) == 1
        watcher.close()
