"""What a watch makes of responses that are hard to get out of a real etcd on demand."""

import threading
from itertools import islice
from typing import Any

import pytest

from etcdcompute.errors import AccessDenied
from etcdcompute.kv import rpc
from etcdcompute.kv.records import Progress, PutEvent, Snapshot, WatchEvent
from etcdcompute.kv.watch import Watch
from tests.unit.kv.fake_connection import (
    FakeConnection,
    always,
    cancelled,
    created,
    header,
    listing,
    progress,
    puts,
)


def watched(
    *streams: list[Any],
    take: int,
    from_revision: int | None = 10,
    connection: FakeConnection | None = None,
) -> list[WatchEvent]:
    """Return the first events of a watch to which the server answers with `streams`, one after the other."""
    connection = connection or FakeConnection(always(listing(20, "/t/a")))
    connection.prepared = list(streams)
    watch = Watch(connection, "/t/", from_revision=from_revision, stop=threading.Event())
    try:
        return list(islice(watch, take))
    finally:
        watch.close()
        connection.close()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kv-")]


def revisions(events: list[WatchEvent]) -> list[int]:
    return [event.revision for event in events if isinstance(event, PutEvent)]


def test_the_request_names_the_range_the_revision_behind_and_fragments() -> None:
    connection = FakeConnection(always(None))
    watched([created(10), progress(11)], take=1, connection=connection)
    sent = next(connection.calls.get().requests)
    request = sent.create_request
    assert (request.key, request.range_end, request.start_revision) == (b"/t/", b"/t0", 11)
    assert request.progress_notify
    # Field 8, "fragment", which the descriptions in etcd3 do not have.
    assert b"\x40\x01" in sent.SerializeToString()


def test_a_revision_cut_by_fragments_is_followed_by_one_progress() -> None:
    fragments = [puts(11, 12, fragment=True), puts(12, 12, fragment=True), puts(12, 13)]
    events = watched([created(10), *fragments], take=8)
    assert [type(event).__name__ for event in events] == [
        "PutEvent",
        "Progress",
        *["PutEvent"] * 5,
        "Progress",
    ]
    assert revisions(events) == [11, 12, 12, 12, 12, 13]
    assert [event for event in events if isinstance(event, Progress)] == [Progress(11), Progress(13)]


def test_a_stream_that_ends_between_fragments_repeats_the_unfinished_revision_whole() -> None:
    connection = FakeConnection(always(listing(20)))
    events = watched(
        [created(10), puts(11, 12, fragment=True), None],
        [created(12), puts(12, 12)],
        take=5,
        connection=connection,
    )
    assert revisions(events) == [11, 12, 12]
    connection.calls.get()
    again = next(connection.calls.get().requests).create_request
    assert again.start_revision == 12


def test_what_was_delivered_before_is_not_delivered_again() -> None:
    events = watched([created(10), puts(11), None], [created(11), puts(11, 12)], take=4)
    assert revisions(events) == [11, 12]


def test_requested_progress_counts_only_where_etcd_orders_it() -> None:
    responses = [created(10), progress(15, watch_id=-1), progress(12)]
    assert watched(responses, take=1) == [Progress(12)]
    for version, ordered in (((3, 4, 25), True), ((3, 5, 7), False), ((3, 5, 8), True), ((3, 6, 0), True)):
        connection = FakeConnection(always(None), version=version)
        assert watched(responses, take=1, connection=connection) == [Progress(15 if ordered else 12)]


def test_progress_never_goes_back() -> None:
    assert watched([created(10), progress(9), progress(10), puts(11)], take=2)[-1] == Progress(11)


def test_compaction_asks_for_a_snapshot() -> None:
    events = watched([created(10), cancelled(compact_revision=15)], take=1)
    assert isinstance(events[0], Snapshot)
    assert events[0].revision == 20
    assert "15 were compacted" in events[0].reason


def test_a_refused_watch_is_tried_with_a_new_token_and_then_told() -> None:
    refused = [rpc.pb.WatchResponse(created=True, canceled=True, watch_id=-1)]
    connection = FakeConnection(always(listing(20)))
    assert revisions(watched(refused, [created(10), puts(11)], take=1, connection=connection)) == [11]
    assert connection.refused_tokens == ["token"]
    with pytest.raises(AccessDenied, match="/t/"):
        watched(refused, refused, refused, take=1)
    connection = FakeConnection(always(listing(20)))
    connection.can_renew_tokens = False
    with pytest.raises(AccessDenied):
        watched(refused, take=1, connection=connection)


def test_a_member_that_is_behind_is_no_reason_to_start_afresh() -> None:
    connection = FakeConnection(always(listing(20)))
    assert revisions(watched([created(5), puts(11)], take=1, connection=connection)) == [11]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (header(4), "went back from revision 11 to 4"),
        (header(50, raft_term=1), "emptied or restored"),
    ],
)
def test_a_store_that_is_another_one_starts_afresh(now: Any, reason: str) -> None:
    def answer(method: rpc.Method, request: Any) -> Any:
        return rpc.pb.RangeResponse(header=now)

    again = rpc.pb.WatchResponse(header=now, created=True)
    connection = FakeConnection(answer)
    events = watched([created(10), puts(11), None], [again], take=3, connection=connection)
    assert isinstance(events[2], Snapshot)
    assert reason in events[2].reason


def test_another_cluster_starts_afresh() -> None:
    events = watched([created(10), puts(11), None], [created(99, cluster_id=8)], take=3)
    assert isinstance(events[2], Snapshot)
    assert "another cluster" in events[2].reason
