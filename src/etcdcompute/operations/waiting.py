"""Waiting for what was asked for: on watches, never on a sleep."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, NotFound
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import DeleteEvent, Item, PutEvent, Snapshot, WatchEvent
from etcdcompute.model import Instance, InstanceStatus, Phase, PowerState, keys

Progress = Callable[[InstanceStatus], None]

_WANTED_PHASE = {PowerState.RUNNING: Phase.RUNNING, PowerState.STOPPED: Phase.STOPPED}


class InstanceFailed(EtcdComputeError):
    """The instance came to the phase error; the message is its status' own."""

    code = "instance_failed"


class TimedOut(EtcdComputeError):
    """What was waited for did not happen in time; it may still happen."""

    code = "timed_out"
    http_status = 504
    retryable = True


def wait_until_settled(
    store: Client, instance: Instance, *, timeout_s: float, on_progress: Progress = lambda _status: None
) -> InstanceStatus:
    """Wait until the instance is as this generation asks for, and return its status.

    `on_progress` is called with every status that differs in phase or message from the one before. InstanceFailed: it
    came to the phase error; NotFound: it was deleted meanwhile; TimedOut: the message says how far it came.
    """
    last: InstanceStatus | None = None
    with _events(store, keys.instance_status(instance.uuid), timeout_s) as events:
        for item in _latest(events, keys.instance_status(instance.uuid)):
            if item is None:
                if last is None:
                    continue  # nobody has looked at it yet
                raise NotFound(f"instance {instance.name} was deleted meanwhile")
            status = InstanceStatus.from_json_or_none(item.value)
            if status is None:
                continue
            if last is None or (status.phase, status.message) != (last.phase, last.message):
                on_progress(status)
            last = status
            if _is_settled(status, instance):
                return status
    raise TimedOut(_describe_timeout(store, instance, last, timeout_s))


def wait_until_gone(store: Client, key: str, *, name: str, timeout_s: float) -> None:
    """Wait until the instance's key, the last thing to go, is gone; TimedOut says how far its deletion came."""
    with _events(store, keys.instance(key), timeout_s) as events:
        for item in _latest(events, keys.instance(key)):
            if item is None:
                return
    item = store.get(keys.instance_status(key))
    status = InstanceStatus.from_json_or_none(item.value if item else None)
    raise TimedOut(f"instance {name} is not gone after {timeout_s:g} s: {_describe(store, status)}")


@contextmanager
def _events(store: Client, prefix: str, timeout_s: float) -> Iterator[Iterator[WatchEvent]]:
    """Watch until the time is over; the iterator then ends."""
    stop = threading.Event()
    timer = threading.Timer(Deadline.after(timeout_s).remaining_s, stop.set)
    timer.daemon = True
    timer.start()
    try:
        with store.watch(prefix, stop=stop) as events:
            yield events
    finally:
        timer.cancel()
        timer.join()


def _latest(events: Iterator[WatchEvent], key: str) -> Iterator[Item | None]:
    """Return the key's state after each event: an item, or None while there is none."""
    for event in events:
        match event:
            case Snapshot(items=items):
                yield next((item for item in items if item.key == key), None)
            case PutEvent(item=item) if item.key == key:
                yield item
            case DeleteEvent(key=gone) if gone == key:
                yield None
            case _:
                pass


def _is_settled(status: InstanceStatus, instance: Instance) -> bool:
    if status.observed_generation < instance.generation:
        return False
    if status.phase is Phase.ERROR:
        raise InstanceFailed(f"instance {instance.name}: {status.message or 'failed without saying why'}")
    return status.phase is _WANTED_PHASE[instance.power_state]


def _describe_timeout(store: Client, instance: Instance, last: InstanceStatus | None, timeout_s: float) -> str:
    wanted = _WANTED_PHASE[instance.power_state]
    if last is None and store.get(keys.instance(instance.uuid)) is None:
        return f"instance {instance.name} was deleted meanwhile"
    return f"instance {instance.name} is not {wanted} after {timeout_s:g} s: {_describe(store, last)}"


def _describe(store: Client, status: InstanceStatus | None) -> str:
    if status is None:
        return "it has no status yet; is a scheduler running?"
    where = f" on {status.host}" if status.host else ""
    if status.host_uuid and store.get(keys.alive(status.host_uuid)) is None:
        where += ", which is down"
    return f"{status.phase}{where}" + (f", {status.message}" if status.message else "")
