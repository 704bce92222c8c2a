"""Leases that are kept, revoked and lost."""

import threading
import time

import pytest

from etcdcompute.errors import InvalidInput, Unavailable
from etcdcompute.kv.client import Client
from etcdcompute.kv.lease import Lease
from etcdcompute.kv.records import Write
from tests.functional.etcd_server import EtcdServer


class Loss:
    """Counts how often a lease was lost, and lets a test wait for it."""

    def __init__(self) -> None:
        self.count = 0
        self.event = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.event.set()


def is_alive(lease: Lease) -> bool:
    """Ask anew: a type checker takes a property that was true for one that stays true."""
    return lease.alive


def test_a_lease_outlives_its_ttl_and_ends_when_revoked(client: Client) -> None:
    loss = Loss()
    lease = client.lease(1, on_lost=loss)
    client.commit([], [Write("/t/a", b"", lease.id)])
    assert not loss.event.wait(2.2)
    assert is_alive(lease)
    item = client.get("/t/a")
    assert item is not None
    assert item.lease == lease.id
    lease.revoke()
    assert client.get("/t/a") is None
    assert not is_alive(lease)
    lease.revoke()
    assert loss.count == 0


def test_a_lease_that_etcd_forgot_is_lost_once(client: Client, etcd: EtcdServer) -> None:
    loss = Loss()
    lease = client.lease(3, on_lost=loss)
    etcd.post("/v3/lease/revoke", {"ID": str(lease.id)})
    assert loss.event.wait(5)
    assert not lease.alive
    lease.revoke()
    assert loss.count == 1


def test_a_lease_is_lost_by_the_local_clock_when_etcd_is_silent(client: Client, etcd: EtcdServer) -> None:
    loss = Loss()
    lease = client.lease(2, on_lost=loss)
    etcd.freeze()
    frozen_at = time.monotonic()
    while lease.alive:
        time.sleep(0.01)
    assert loss.event.wait(1)
    assert time.monotonic() - frozen_at < 2.7
    etcd.thaw()
    assert not lease.alive
    assert loss.count == 1


def test_a_lease_survives_a_restart_of_etcd(client: Client, etcd: EtcdServer) -> None:
    loss = Loss()
    lease = client.lease(10, on_lost=loss)
    client.commit([], [Write("/t/a", b"", lease.id)])
    etcd.restart(kill=True)
    assert lease.alive
    assert client.get("/t/a") is not None
    lease.revoke()
    assert client.get("/t/a") is None


def test_closing_the_client_leaves_the_lease_to_expire(client: Client, etcd: EtcdServer) -> None:
    loss = Loss()
    with Client([etcd.endpoint]) as owner:
        lease = owner.lease(1, on_lost=loss)
        owner.commit([], [Write("/t/a", b"", lease.id)])
    with client.watch("/t/") as events:
        next(event for event in events if not getattr(event, "items", ()))
    assert client.get("/t/a") is None
    assert loss.count == 0


def test_a_lease_needs_a_sensible_ttl_and_an_etcd(client: Client, etcd: EtcdServer) -> None:
    with pytest.raises(InvalidInput, match="at least 1 s"):
        client.lease(0, on_lost=lambda: None)
    etcd.stop()
    with Client([etcd.endpoint], request_timeout_s=0.3) as other, pytest.raises(Unavailable):
        other.lease(5, on_lost=lambda: None)
