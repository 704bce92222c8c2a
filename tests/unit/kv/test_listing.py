"""Paging at one revision, and beginning again when it is compacted away."""

from typing import Any

import pytest

from etcdcompute.errors import Unavailable
from etcdcompute.kv import rpc
from etcdcompute.kv.errors import Failure, Kind
from etcdcompute.kv.listing import list_prefix
from tests.unit.kv.fake_connection import FakeConnection, listing, raising

COMPACTED = Failure(Kind.COMPACTED, "mvcc: required revision has been compacted")


def test_all_pages_are_of_the_first_ones_revision() -> None:
    requests = []

    def answer(method: rpc.Method, request: Any) -> Any:
        requests.append(request)
        page = listing(10 + len(requests), f"/t/{len(requests)}")
        page.more = len(requests) < 3
        return page

    result = list_prefix(FakeConnection(answer), "/t/")
    assert result.revision == 11
    assert [item.key for item in result.items] == ["/t/1", "/t/2", "/t/3"]
    assert [(request.key, request.range_end, request.revision) for request in requests] == [
        (b"/t/", b"/t0", 0),
        (b"/t/1\0", b"/t0", 11),
        (b"/t/2\0", b"/t0", 11),
    ]


def test_it_begins_again_when_its_revision_is_compacted() -> None:
    revisions: list[int] = []

    def answer(method: rpc.Method, request: Any) -> Any:
        revisions.append(request.revision)
        if len(revisions) == 2:
            raise COMPACTED
        page = listing(10 + len(revisions), f"/t/{len(revisions)}")
        page.more = len(revisions) == 1
        return page

    result = list_prefix(FakeConnection(answer), "/t/")
    assert revisions == [0, 11, 0]
    assert (result.revision, [item.key for item in result.items]) == (13, ["/t/3"])


def test_it_gives_up_when_that_goes_on() -> None:
    with pytest.raises(Unavailable, match="compacted faster"):
        list_prefix(FakeConnection(raising(COMPACTED)), "/t/")
