"""Elections: one leader, handed over, lost, and fenced."""

import threading
import time

from etcdcompute.kv.client import Client
from etcdcompute.kv.election import Leadership
from etcdcompute.kv.records import Committed, Rejected, Write
from tests.functional.etcd_server import EtcdServer

KEY = "/t/leader"


class Candidate:
    """Campaigns in its own thread and keeps what it got."""

    def __init__(self, client: Client, identity: str, ttl_s: int = 2) -> None:
        self.stop = threading.Event()
        self.done = threading.Event()
        self.leadership: Leadership | None = None
        self._election = client.election(KEY, identity=identity, ttl_s=ttl_s)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.leadership = self._election.campaign(self.stop)
        self.done.set()

    def elected(self, timeout_s: float = 15) -> Leadership:
        assert self.done.wait(timeout_s)
        assert self.leadership is not None
        return self.leadership

    def close(self) -> None:
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.leadership:
            self.leadership.resign()


def test_the_second_leads_when_the_first_resigns(client: Client, etcd: EtcdServer) -> None:
    first = Candidate(client, "one")
    leadership = first.elected()
    assert leadership.alive
    assert client.election(KEY, identity="?", ttl_s=2).leader() == "one"
    with Client([etcd.endpoint]) as other:
        second = Candidate(other, "two")
        assert not second.done.wait(0.5)
        leadership.resign()
        assert leadership.lost.is_set()
        assert second.elected().guard != leadership.guard
        assert client.election(KEY, identity="?", ttl_s=2).leader() == "two"
        assert isinstance(client.commit([leadership.guard], [Write("/t/a", b"old")]), Rejected)
        assert isinstance(client.commit([second.elected().guard], [Write("/t/a", b"new")]), Committed)
        second.close()
    first.close()
    assert client.election(KEY, identity="?", ttl_s=2).leader() is None


def test_a_candidate_can_be_told_to_stop(client: Client) -> None:
    first = Candidate(client, "one")
    first.elected()
    second = Candidate(client, "two")
    assert not second.done.wait(0.3)
    started = time.monotonic()
    second.close()
    assert time.monotonic() - started < 1.5
    assert second.leadership is None
    first.close()


def test_a_leader_that_died_is_followed_after_its_ttl(client: Client, etcd: EtcdServer) -> None:
    with Client([etcd.endpoint]) as doomed:
        Candidate(doomed, "one").elected()
    second = Candidate(client, "two")
    second.elected()
    second.close()


def test_a_leader_whose_key_is_removed_knows(client: Client, etcd: EtcdServer) -> None:
    first = Candidate(client, "one", ttl_s=30)
    leadership = first.elected()
    etcd.delete(KEY)
    assert leadership.lost.wait(5)
    assert not leadership.alive
    assert isinstance(client.commit([leadership.guard], [Write("/t/a", b"")]), Rejected)
    first.close()


def test_a_leader_that_cannot_reach_etcd_knows_within_its_ttl(client: Client, etcd: EtcdServer) -> None:
    first = Candidate(client, "one", ttl_s=2)
    leadership = first.elected()
    etcd.freeze()
    assert leadership.lost.wait(3)
    etcd.thaw()
    first.close()


def test_a_leader_survives_a_restart_of_etcd(client: Client, etcd: EtcdServer) -> None:
    first = Candidate(client, "one", ttl_s=15)
    leadership = first.elected()
    etcd.restart(kill=True)
    assert isinstance(client.commit([leadership.guard], [Write("/t/a", b"")]), Committed)
    assert leadership.alive
    first.close()


def test_the_lease_of_another_key_below_the_same_name_does_not_count(client: Client, etcd: EtcdServer) -> None:
    etcd.put(f"{KEY}2", "other")
    first = Candidate(client, "one")
    first.elected()
    first.close()
