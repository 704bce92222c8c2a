"""Concurrent readers share questions, but never one that was put before they came."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.placement.graph.freshness import Asked, SharedQuestion
from etcdcompute.placement.suspension import run_suspendable


class Begun:
    """A question that can only be put by waiting for its answer."""

    arrived = False

    def __init__(self, fetch: Callable[[], int]) -> None:
        self.result = fetch


class Sent:
    """A question that was sent: the answer comes when `come` is called."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self.arrived = False

    def come(self) -> None:
        self.arrived = True
        self._told()

    def result(self) -> int:
        assert self.arrived
        return 7


class Sender:
    """Sends questions, and keeps them."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def __call__(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        self.sent.append(Sent(told))
        return self.sent[-1]


class Slow:
    """Answers with what was true when it was asked, once it is let go."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0
        self.out = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, told: Callable[[], None], deadline: Deadline) -> Asked:
        told()
        return Begun(self._fetch)

    def _fetch(self) -> int:
        self.asked += 1
        value = self.value
        self.out.release()
        assert self.go.acquire(timeout=10)
        return value


def ask(question: SharedQuestion, timeout_s: float) -> int:
    return question.begin(Deadline.after(timeout_s))()


def test_who_comes_while_a_question_is_out_waits_for_the_next() -> None:
    slow = Slow()
    question = SharedQuestion(slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, question, 10)
        assert slow.out.acquire(timeout=10)
        slow.value = 7
        others = [pool.submit(ask, question, 10) for _ in range(6)]
        slow.go.release(20)
        assert first.result(10) == 0
        assert [each.result(10) for each in others] == [7] * 6
    assert slow.asked <= 7


def test_failures_are_told_to_all_who_shared_the_question() -> None:
    def fail() -> int:
        raise Unavailable("down")

    def begin(told: Callable[[], None], deadline: Deadline) -> Asked:
        told()
        return Begun(fail)

    question = SharedQuestion(begin)
    for _ in range(2):
        with pytest.raises(Unavailable, match="down"):
            ask(question, 5)


def test_waiting_has_an_end() -> None:
    slow = Slow()
    question = SharedQuestion(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, question, 10)
        assert slow.out.acquire(timeout=10)
        with pytest.raises(Unavailable, match="in time"):
            ask(question, 0.05)
        slow.go.release()
        assert first.result(10) == 0


def test_who_asked_can_do_something_else_until_the_answer_comes() -> None:
    sender = Sender()
    answer = SharedQuestion(sender).begin(Deadline.after(10))
    assert len(sender.sent) == 1
    sender.sent[0].come()
    assert answer() == 7


def test_who_breaks_off_leaves_nobody_waiting() -> None:
    sender = Sender()
    question = SharedQuestion(sender)

    async def ask_four_times() -> None:
        with ThreadPoolExecutor(1) as pool:
            asking = [asyncio.create_task(run_suspendable(pool, ask, question, 10)) for _ in range(3)]
            # They begin when the loop gets to them.
            await asyncio.sleep(0)
            assert len(sender.sent) == 1
            # Who asks, and who is to ask next: the third shares that question.
            asking[0].cancel()
            asking[1].cancel()
            with pytest.raises(Unavailable, match="broken off"):
                await asking[2]
            assert all(
                isinstance(each, asyncio.CancelledError)
                for each in await asyncio.gather(*asking[:2], return_exceptions=True)
            )
            last = asyncio.create_task(run_suspendable(pool, ask, question, 10))
            await asyncio.sleep(0)
            sender.sent[-1].come()
            assert await last == 7

    asyncio.run(ask_four_times())


def test_a_question_that_could_not_be_put_is_no_hindrance_to_the_next() -> None:
    down = True

    def begin(told: Callable[[], None], deadline: Deadline) -> Asked:
        if down:
            raise Unavailable("down")
        told()
        return Begun(lambda: 3)

    question = SharedQuestion(begin)
    with pytest.raises(Unavailable, match="down"):
        ask(question, 5)
    down = False
    assert ask(question, 5) == 3
