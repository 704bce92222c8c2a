"""The scheduler's process: campaign, lead, and when the leadership is lost begin again.

    main ──▶ campaign ──▶ term: 4 watchers ──keys──▶ queue ──▶ workers ──▶ reconcile
                ▲           │
                └── lost ◀──┘

A term starts with an empty view and ends with its threads joined; nothing of it outlives the leadership.
"""

import logging
import socket
import threading
from collections.abc import Callable

from etcdcompute.config import Settings
from etcdcompute.errors import EtcdComputeError, Stopped
from etcdcompute.kv.client import Client
from etcdcompute.kv.connect import connect
from etcdcompute.kv.election import Leadership
from etcdcompute.kv.records import Snapshot
from etcdcompute.model import keys
from etcdcompute.placement.client import PlacementClient
from etcdcompute.scheduler.reconcile import Outcome, Reconciler
from etcdcompute.scheduler.view import View
from etcdcompute.systemd import notify, notify_ready
from etcdcompute.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)

WATCHED = (keys.INSTANCES, keys.ASSIGNMENTS, keys.HOSTS, keys.ALIVE)
WORKERS = 4

# An instance that changed while it was looked at is looked at again after this, then with growing pauses.
_RETRY_BASE_S = 0.05
# How often a term looks whether it is over; what it writes meanwhile etcd rejects.
_SUPERVISION_S = 0.5
_PAUSE_BETWEEN_TERMS_S = 1.0


def run_scheduler(settings: Settings, stop: threading.Event) -> None:
    """Campaign and lead until `stop` is set. Outages of etcd and placement are waited for; none ends the scheduler."""
    identity = settings.scheduler.identity or socket.gethostname()
    with connect(settings.etcd) as store:
        placement = PlacementClient(
            settings.placement.urls,
            token=settings.placement.token or None,
            timeout_s=settings.placement.request_timeout_s,
        )
        try:
            election = store.election(keys.SCHEDULER_LEADER, identity=identity, ttl_s=settings.scheduler.leader_ttl_s)
            # Ready to lead, whoever leads now: what etcd and placement are doing is not this unit's start.
            notify_ready("campaigning")
            while not stop.is_set():
                try:
                    leadership = election.campaign(stop)
                except Stopped:
                    break
                except EtcdComputeError as error:
                    _LOG.warning("cannot campaign: %s", error)
                    stop.wait(_PAUSE_BETWEEN_TERMS_S)
                    continue
                if leadership is None:
                    break
                _lead(settings, store, placement, leadership, stop)
        finally:
            placement.close()


def _lead(
    settings: Settings, store: Client, placement: PlacementClient, leadership: Leadership, stop: threading.Event
) -> None:
    _LOG.info("leading")
    notify("STATUS=leading")
    try:
        reason = Term(settings, store, placement, leadership).run(stop)
    finally:
        leadership.resign()
        notify("STATUS=campaigning")
    _LOG.info("not leading any more: %s", reason)
    if not stop.is_set():
        stop.wait(_PAUSE_BETWEEN_TERMS_S)


class Term:
    """One time of leading: a view, its watchers, the queue and its workers."""

    def __init__(self, settings: Settings, store: Client, placement: PlacementClient, leadership: Leadership) -> None:
        self._settings = settings.scheduler
        self._store = store
        self._leadership = leadership
        self._over = threading.Event()
        self._view = View()
        self._queue: WorkQueue[str] = WorkQueue(
            retry_base_s=_RETRY_BASE_S, retry_limit_s=settings.scheduler.retry_interval_s
        )
        self._reconciler = Reconciler(store, placement, self._view, guard=leadership.guard, lost=leadership.lost)
        self._lock = threading.Lock()
        self._unread = set(WATCHED)
        self._failure: str | None = None

    def run(self, stop: threading.Event) -> str:
        """Lead until `stop`, the loss of the leadership or the failure of a watch; return which it was."""
        threads = [
            threading.Thread(target=self._supervised(self._watch), args=(prefix,), name=f"watch {prefix}")
            for prefix in WATCHED
        ]
        threads += [
            threading.Thread(target=self._supervised(self._work), args=(f"worker-{number}",), name=f"worker-{number}")
            for number in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        try:
            return self._supervise(stop)
        finally:
            self._over.set()
            self._queue.close()
            for thread in threads:
                thread.join()

    def _supervise(self, stop: threading.Event) -> str:
        since_resync_s = 0.0
        while not stop.wait(_SUPERVISION_S):
            if self._leadership.lost.is_set():
                return "the leadership is lost"
            if self._failure is not None:
                return self._failure
            since_resync_s += _SUPERVISION_S
            if since_resync_s >= self._settings.resync_interval_s:
                since_resync_s = 0.0
                self._add_all(self._view.get_instances())
        return "told to stop"

    def _supervised(self, target: Callable[[str], None]) -> Callable[[str], None]:
        """Return `target` so that its end by an error ends the term, which is then begun anew."""

        def run(argument: str) -> None:
            try:
                target(argument)
            except Stopped:
                pass
            except EtcdComputeError as error:
                self._failure = str(error)
            except Exception as error:  # noqa: BLE001 - the term ends, the scheduler does not
                _LOG.exception("a thread of the scheduler failed")
                self._failure = f"{type(error).__name__}: {error}"

        return run

    # Watching

    def _watch(self, prefix: str) -> None:
        with self._store.watch(prefix, stop=self._over) as events:
            for event in events:
                change = self._view.apply(prefix, event)
                if isinstance(event, Snapshot):
                    _LOG.debug(
                        "%s: %d keys at revision %d (%s)", prefix, len(event.items), event.revision, event.reason
                    )
                if not self._is_complete(prefix):
                    continue  # decisions need all of the view
                self._add_all(change.instances)
                if change.capacity:
                    self._add_all(self._view.get_unassigned())

    def _is_complete(self, prefix: str) -> bool:
        """Note that `prefix` has been read; whether all have, and if this one was the last, begin with everything."""
        with self._lock:
            if not self._unread:
                return True
            self._unread.discard(prefix)
            complete = not self._unread
        if complete:
            self._add_all(self._view.get_instances())
        return complete

    def _add_all(self, uuids: tuple[str, ...] | frozenset[str]) -> None:
        for uuid in uuids:
            self._queue.add(uuid)

    # Working

    def _work(self, _name: str) -> None:
        while (uuid := self._queue.get()) is not None:
            try:
                self._reconcile(uuid)
            finally:
                self._queue.done(uuid)

    def _reconcile(self, uuid: str) -> None:
        try:
            outcome = self._reconciler.reconcile(uuid)
        except Stopped:
            return
        except EtcdComputeError as error:
            pause_s = self._queue.retry(uuid)
            _LOG.warning("instance %s: %s; trying again in %.1f s", uuid, error, pause_s)
        except Exception:  # noqa: BLE001
            # A bug that one document provokes must not take the other instances with it.
            pause_s = self._queue.retry(uuid)
            _LOG.exception("BUG: instance %s; trying again in %.1f s", uuid, pause_s)
        else:
            if outcome is Outcome.AGAIN:
                self._queue.retry(uuid)
                return
            self._queue.forget(uuid)
            if outcome is Outcome.WAITING:
                self._queue.add_after(uuid, self._settings.retry_interval_s)
