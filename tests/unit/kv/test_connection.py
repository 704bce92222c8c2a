"""Threads of a connection, and its end."""

import threading
from typing import Any

import pytest

from etcdcompute.errors import Stopped
from etcdcompute.kv import rpc
from tests.unit.kv.fake_connection import FakeConnection


def no_answer(method: rpc.Method, request: Any) -> Any:
    raise AssertionError(f"nobody was to ask {method}: {request}")


def test_closing_while_a_thread_begins_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection(no_answer)
    begin = threading.Thread.start
    errors: list[BaseException] = []
    ended = threading.Event()

    def close() -> None:
        try:
            connection.close()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    closer = threading.Thread(target=close)

    def start_late(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", begin)
        closer.start()
        # Time in which a close that does not wait goes wrong.
        closer.join(timeout=0.3)
        thread.start()

    def target() -> None:
        connection.closed.wait()
        ended.set()

    monkeypatch.setattr(threading.Thread, "start", start_late)
    connection.start_thread("late", target)
    closer.join()
    assert not errors
    assert ended.is_set()
    with pytest.raises(Stopped):
        connection.start_thread("later", target)
