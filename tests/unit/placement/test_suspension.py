"""Code that waits: on the event loop, where many wait at once on one thread, and on a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from etcdcompute.placement.suspension import Gate, gate, offload, run_suspendable


def on_a_thread(*functions: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result() for each in [pool.submit(function) for function in functions]]


def on_the_loop(*functions: Callable[[], Any]) -> list[Any]:
    async def together() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            return await asyncio.gather(*(run_suspendable(executor, function) for function in functions))

    return asyncio.run(together())


EITHER = pytest.mark.parametrize("run", [on_a_thread, on_the_loop])


@EITHER
def test_one_waits_for_what_another_does(run: Callable[..., list[Any]]) -> None:
    made: list[Gate] = []
    there = threading.Event()

    def waiter() -> bool:
        mine = gate()
        made.append(mine)
        there.set()
        return mine.wait(10)

    def opener() -> str:
        offload(there.wait, 10)
        made[0].open()
        return "opened"

    assert run(waiter, opener) == [True, "opened"]


@EITHER
def test_a_wait_ends_in_time_and_an_open_gate_needs_none(run: Callable[..., list[Any]]) -> None:
    def late() -> bool:
        return gate().wait(0.01)

    def open_already() -> bool:
        mine = gate()
        mine.open()
        return mine.wait(10)

    assert run(late, open_already) == [False, True]


@EITHER
def test_errors_come_out_where_they_are_waited_for(run: Callable[..., list[Any]]) -> None:
    def failing() -> None:
        try:
            offload(int, "x")
        except ValueError as error:
            raise KeyError("told on") from error

    with pytest.raises(KeyError, match="told on"):
        run(failing)


def test_a_gate_may_be_opened_from_any_thread() -> None:
    def waiter() -> bool:
        mine = gate()
        threading.Timer(0.01, mine.open).start()
        return mine.wait(10)

    assert on_the_loop(waiter) == [True]


def test_all_waiting_is_on_one_thread() -> None:
    def waiter() -> int:
        gate().wait(0.01)
        return threading.get_ident()

    assert set(on_the_loop(*[waiter] * 50)) == {threading.get_ident()}


def test_cancelling_reaches_the_code_that_waits() -> None:
    cleaned: list[str] = []

    def waiter() -> None:
        try:
            gate().wait(60)
        finally:
            cleaned.append("up")

    async def cancel() -> None:
        with ThreadPoolExecutor(1) as executor:
            task = asyncio.create_task(run_suspendable(executor, waiter))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert cleaned == ["up"]
