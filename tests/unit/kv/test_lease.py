"""The owner's clock decides; etcd's word can only shorten a lease."""

import threading
from typing import Any

import pytest

from etcdcompute.errors import Unavailable
from etcdcompute.kv import rpc
from etcdcompute.kv.lease import Lease
from tests.unit.kv.fake_connection import FakeConnection


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Setting:
    """A lease of 9 s taken at 100, on a clock that the test moves."""

    def __init__(self, answer: Any) -> None:
        self.clock = Clock()
        self.lost = threading.Event()
        self.losses = 0
        self.renewals: list[float] = []
        self.renewed = threading.Event()
        self._answer = answer
        self.connection = FakeConnection(self._on_call)
        self.lease = Lease(self.connection, 5, 9, expires_at=109.0, on_lost=self._on_lost, clock=self.clock)

    def _on_call(self, method: rpc.Method, request: Any) -> Any:
        if method is rpc.LEASE_REVOKE:
            return None
        self.renewals.append(self.clock.now)
        try:
            return self._answer(self)
        finally:
            self.renewed.set()

    def _on_lost(self) -> None:
        self.losses += 1
        self.lost.set()


def not_to_be_asked(_: Setting) -> Any:
    pytest.fail("asked etcd")


def forgotten(_: Setting) -> Any:
    return rpc.pb.LeaseKeepAliveResponse(ID=5, TTL=0)


def is_alive(lease: Lease) -> bool:
    """Ask anew: a type checker takes a property that was true for one that stays true."""
    return lease.alive


def test_it_is_renewed_after_a_third_of_its_time_and_counts_from_the_sending() -> None:
    def answer(setting: Setting) -> Any:
        setting.clock.now += 2  # the answer takes its time
        return rpc.pb.LeaseKeepAliveResponse(ID=5, TTL=9)

    setting = Setting(answer)
    setting.clock.now = 103.0
    assert setting.renewed.wait(5)
    setting.clock.now = 111.9
    assert is_alive(setting.lease)
    setting.lease.revoke()
    setting.connection.close()
    assert setting.renewals[0] == 103.0
    assert setting.losses == 0


def test_it_is_lost_once_when_the_clock_passes_it() -> None:
    def answer(setting: Setting) -> Any:
        raise Unavailable("no etcd")

    setting = Setting(answer)
    setting.clock.now = 103.0
    assert setting.renewed.wait(5)
    assert is_alive(setting.lease)
    setting.clock.now = 109.0
    assert not is_alive(setting.lease)
    assert setting.lost.wait(5)
    setting.connection.close()
    assert setting.losses == 1


def test_a_machine_that_slept_too_long_has_lost_it_without_asking() -> None:
    setting = Setting(not_to_be_asked)
    setting.clock.now = 1000.0
    assert setting.lost.wait(5)
    setting.connection.close()
    assert setting.renewals == []


def test_a_ttl_of_zero_means_that_etcd_forgot_it() -> None:
    setting = Setting(forgotten)
    setting.clock.now = 103.0
    assert setting.lost.wait(5)
    assert not is_alive(setting.lease)
    setting.connection.close()


def test_closing_is_no_loss() -> None:
    setting = Setting(not_to_be_asked)
    setting.connection.close()
    assert setting.losses == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "kv-lease-5"]
