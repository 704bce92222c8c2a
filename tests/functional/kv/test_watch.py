"""Watches across all that a real etcd does to them."""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, OutcomeUnknown
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import (
    Committed,
    DeleteEvent,
    Item,
    Operation,
    Progress,
    PutEvent,
    Remove,
    Snapshot,
    WatchEvent,
    Write,
)
from tests.functional.etcd_server import EtcdServer
from tests.functional.kv.conftest import Watcher

Watching = Callable[..., Watcher]


def changes(events: Sequence[WatchEvent]) -> list[PutEvent | DeleteEvent]:
    return [event for event in events if isinstance(event, PutEvent | DeleteEvent)]


def snapshots(events: Sequence[WatchEvent]) -> list[Snapshot]:
    return [event for event in events if isinstance(event, Snapshot)]


def reached(revision: int) -> Callable[[list[WatchEvent]], bool]:
    """Hold once all events up to a revision are there: a put of that revision may be one of several."""
    return lambda events: any(event.revision >= revision for event in events if isinstance(event, Progress | Snapshot))


def wakings(threads: Iterable[threading.Thread]) -> int:
    """Return how often threads have gone to sleep so far."""
    status = [Path(f"/proc/self/task/{thread.native_id}/status").read_text() for thread in threads]
    return sum(int(each.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for each in status)


def test_watches_in_which_nothing_happens_cost_next_to_nothing(client: Client, watching: Watching) -> None:
    watchers = [watching(client, f"/t/{number}/") for number in range(10)]
    for watcher in watchers:
        watcher.until(bool)
    # A write shows that they stand.
    done = client.commit([], [Write("/t/0/a", b"")])
    watchers[0].until(reached(done.revision))
    streams = [thread for thread in threading.enumerate() if thread.name.startswith("kv-watch")]
    consumers = [watcher.thread for watcher in watchers]
    before = wakings(streams), wakings(consumers)
    threading.Event().wait(3)
    # gRPC by itself looks ten times a second whether there is a message, for each.
    assert (wakings(streams) - before[0]) / 3 / len(streams) < 2
    # They see whether they are to stop.
    assert (wakings(consumers) - before[1]) / 3 / len(consumers) < 4


def test_a_snapshot_comes_first_and_then_each_change(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    etcd.put("/t/a", "1")
    watcher = watching(client, "/t/")
    first = watcher.until(bool)[0]
    assert isinstance(first, Snapshot)
    assert [(item.key, item.value) for item in first.items] == [("/t/a", b"1")]
    etcd.put("/elsewhere", "1")
    put = etcd.put("/t/a", "2")
    done = client.commit([], [Write("/t/b", b"3"), Remove("/t/a")])
    events = watcher.until(reached(done.revision))[1:]
    changed = changes(events)
    assert isinstance(changed[0], PutEvent)
    assert (changed[0].revision, changed[0].item.value, changed[0].item.version) == (put, b"2", 2)
    assert changed[1:] == [
        PutEvent(done.revision, Item("/t/b", b"3", done.revision, done.revision, 1)),
        DeleteEvent(done.revision, "/t/a"),
    ]
    events = watcher.until(lambda events: events[-1] == Progress(done.revision))
    assert watcher.close() < 1


def test_a_watch_can_begin_behind_a_known_revision(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    known = etcd.put("/t/a", "1")
    later = etcd.put("/t/b", "2")
    events = watching(client, "/t/", from_revision=known).until(reached(later))
    assert [event.revision for event in changes(events)] == [later]
    assert not snapshots(events)


def test_a_revision_that_was_compacted_starts_afresh(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    known = etcd.put("/t/a", "1")
    etcd.put("/t/a", "2")
    etcd.compact(etcd.put("/t/a", "3"))
    events = watching(client, "/t/", from_revision=known - 1).until(bool)
    assert isinstance(events[0], Snapshot)
    assert "compacted" in events[0].reason
    assert [item.value for item in events[0].items] == [b"3"]


def test_a_watch_goes_on_after_stop_and_kill(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    watcher = watching(client, "/t/")
    watcher.until(bool)
    expected = []
    for kill in (False, True):
        expected.append(etcd.put("/t/a", "before"))
        etcd.restart(kill=kill)
        expected.append(etcd.put("/t/a", "after"))
    events = watcher.until(reached(expected[-1]))
    assert [event.revision for event in changes(events)] == expected
    assert len(snapshots(events)) == 1


def test_compaction_during_an_outage_starts_afresh(client: Client, etcd: EtcdServer) -> None:
    with client.watch("/t/") as events:
        assert isinstance(next(events), Snapshot)
        first = etcd.put("/t/a", "1")
        assert next(events).revision == first
        assert next(events) == Progress(first)
        # Nobody iterates now, so the watch cannot come back before the compaction.
        etcd.stop()
        etcd.start()
        etcd.put("/t/a", "2")
        etcd.put("/t/a", "3")
        etcd.compact()
        last = etcd.put("/t/b", "4")
        afresh = next(events)
        assert isinstance(afresh, Snapshot)
        assert "compacted" in afresh.reason
        assert afresh.revision == last
        assert [(item.key, item.value) for item in afresh.items] == [("/t/a", b"3"), ("/t/b", b"4")]


def test_an_exchanged_store_starts_afresh(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    for number in range(20):
        etcd.put("/t/a", str(number))
    watcher = watching(client, "/t/")
    watcher.until(bool)
    etcd.stop()
    etcd.remove_data()
    etcd.start()
    etcd.put("/t/new", "1")
    events = watcher.until(lambda events: len(snapshots(events)) == 2 and "/t/new" in str(events))
    assert "went back" in snapshots(events)[1].reason


def test_etcd_may_be_down_when_the_watch_begins(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    revision = etcd.put("/t/a", "1")
    etcd.stop()
    watcher = watching(client, "/t/")
    etcd.start()
    assert snapshots(watcher.until(bool))[0].revision == revision


def test_stopping_is_prompt_when_etcd_is_frozen(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    watcher = watching(client, "/t/")
    watcher.until(bool)
    etcd.freeze()
    unlisted = watching(client, "/t/")
    assert watcher.close() < 1.5
    assert unlisted.close() < 1.5


def test_closing_the_client_ends_its_watches(client: Client, watching: Watching) -> None:
    watcher = watching(client, "/t/")
    watcher.until(bool)
    client.close()
    assert watcher.close() < 1.5
    assert watcher.error is None


def test_a_batch_larger_than_a_message_comes_whole(client: Client, etcd: EtcdServer, watching: Watching) -> None:
    known = etcd.revision()
    last = known
    for number in range(20):
        operations: list[Operation] = [Write(f"/t/{part}", bytes([number]) * 300_000) for part in range(4)]
        last = client.commit([], operations).revision
    events = watching(client, "/t/", from_revision=known).until(reached(last))
    seen = [(event.revision, event.item.key) for event in changes(events) if isinstance(event, PutEvent)]
    assert seen == [(known + 1 + number, f"/t/{part}") for number in range(20) for part in range(4)]
    # A Progress stands behind whole transactions only.
    for position, event in enumerate(events):
        if isinstance(event, Progress):
            count = len(changes(events[:position]))
            assert count == 4 * (event.revision - known)


def test_a_slow_consumer_misses_nothing(client: Client, etcd: EtcdServer) -> None:
    known = etcd.revision()
    stop = threading.Event()
    seen = []
    with client.watch("/t/", from_revision=known, stop=stop) as events:
        last = etcd.put("/t/a", "first")
        seen.append(next(events).revision)
        for number in range(300):
            last = client.commit([], [Write("/t/a", bytes(20_000) + str(number).encode())]).revision
        for event in events:
            if isinstance(event, PutEvent):
                seen.append(event.revision)
            if event.revision >= last and isinstance(event, Progress):
                break
    assert seen == list(range(known + 1, last + 1))


def test_etcds_own_progress_moves_a_quiet_watch_on(tmp_path: Path, watching: Watching) -> None:
    arguments = ["--experimental-watch-progress-notify-interval=200ms"]
    with (
        EtcdServer(tmp_path, arguments=arguments) as server,
        Client([server.endpoint]) as client,
    ):
        watcher = watching(client, "/t/")
        watcher.until(bool)
        revision = server.put("/elsewhere", "1")
        events = watcher.until(reached(revision))
        assert events[-1] == Progress(revision)
        watcher.close()


def apply(known: dict[str, bytes], event: WatchEvent) -> None:
    match event:
        case Snapshot(items=items):
            known.clear()
            known.update({item.key: item.value for item in items})
        case PutEvent(item=item):
            known[item.key] = item.value
        case DeleteEvent(key=key):
            known.pop(key, None)
        case Progress():
            pass


def test_nothing_is_lost_or_repeated_while_etcd_restarts_again_and_again(
    client: Client, etcd: EtcdServer, watching: Watching
) -> None:
    watcher = watching(client, "/t/")
    watcher.until(bool)
    stop = threading.Event()
    committed: list[int] = []
    doubtful = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            operations: list[Operation] = [Write(f"/t/{number % 50}", str(number).encode())]
            operations.append(Remove(f"/t/{(number + 25) % 50}"))
            try:
                done = client.commit([], operations, deadline=Deadline.after(20))
                assert isinstance(done, Committed)
                committed.append(done.revision)
            except OutcomeUnknown:
                doubtful.append(number)
            except EtcdComputeError:
                pass
            stop.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    for round_number in range(5):
        etcd.restart(kill=round_number % 2 == 0)
        so_far = len(committed)
        until = Deadline.after(10)
        while len(committed) < so_far + 50 and not until.expired:
            stop.wait(0.02)
    stop.set()
    writer.join()
    final = client.read_prefix("/t/", deadline=Deadline.after(20))
    end = client.commit([], [Write("/t/end", b"")], deadline=Deadline.after(20)).revision
    events = watcher.until(reached(end))
    watcher.close()

    known: dict[str, bytes] = {}
    for event in events:
        if event.revision < end:
            apply(known, event)
    assert known == {item.key: item.value for item in final.items}
    # Without compaction there is no reason for a second snapshot.
    assert len(snapshots(events)) == 1
    changed = [(event.revision, isinstance(event, PutEvent), str(event)) for event in changes(events)]
    assert len(set(changed)) == len(changed)
    revisions = [event.revision for event in changes(events)]
    assert revisions == sorted(revisions)
    puts = [event.revision for event in events if isinstance(event, PutEvent)]
    assert puts == sorted(set(puts))
    assert set(committed) <= set(puts)
    assert len(committed) > 100
    # What is not known to be committed was at most one write a restart.
    assert len(puts) - 1 - len(committed) <= len(doubtful) <= 5
