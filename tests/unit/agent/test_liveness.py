"""Who is alive as a host: one machine, whose agent may be killed and come back."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from etcdcompute.agent.errors import HostTaken
from etcdcompute.agent.liveness import Liveness
from etcdcompute.errors import Conflict
from etcdcompute.kv.records import Item
from etcdcompute.model import keys
from tests.unit.agent.fakes import FakeStore
from tests.unit.agent.samples import HOST

KEY = keys.alive(HOST)


class LeasingStore(FakeStore):
    """A store that gives leases; `meanwhile` is written between the next read and the commit that follows."""

    meanwhile: bytes | None = None

    def lease(self, _ttl_s: int, **_: Any) -> SimpleNamespace:
        if self.meanwhile is not None:
            self.put(KEY, self.meanwhile)
        return SimpleNamespace(id=7, alive=True)


def liveness(store: FakeStore, machine: str) -> Liveness:
    return Liveness(cast(Any, store), HOST, machine=machine, ttl_s=10, lost=threading.Event())


def test_a_copy_of_a_machine_is_refused_as_long_as_the_other_lives() -> None:
    store = LeasingStore()
    liveness(store, "host1 (192.0.2.1)").ensure()
    before: Item = store.items[KEY]
    copy = liveness(store, "host1-copy (192.0.2.2)")
    for call in (copy.check_alone, copy.ensure):
        with pytest.raises(HostTaken, match=r"host1 \(192\.0\.2\.1\), is alive as host"):
            call()
    assert store.items[KEY] == before
    del store.items[KEY]
    copy.check_alone()
    copy.ensure()
    with pytest.raises(HostTaken):
        liveness(store, "host1 (192.0.2.1)").check_alone()


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"\xff", b'{"machine": "host1 (192.0.2.1)"}'])
def test_what_this_machine_left_behind_or_nobody_can_read_is_taken_over(value: bytes) -> None:
    store = LeasingStore()
    store.put(KEY, value)
    mine = liveness(store, "host1 (192.0.2.1)")
    mine.check_alone()
    mine.ensure()
    assert b"since" in store.items[KEY].value


def test_of_two_at_once_only_one_becomes_the_host() -> None:
    store = LeasingStore()
    store.meanwhile = b'{"machine": "host1-copy (192.0.2.2)"}'
    mine = liveness(store, "host1 (192.0.2.1)")
    with pytest.raises(Conflict):
        mine.ensure()
    with pytest.raises(HostTaken):
        mine.ensure()
