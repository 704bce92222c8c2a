"""Concurrent readers share questions, but never one that was put before they came."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from etcdcompute.deadline import Deadline
from etcdcompute.errors import Unavailable
from etcdcompute.placement.graph.freshness import SharedQuestion


class Slow:
    """Answers with what was true when it was asked, once it is let go."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0
        self.out = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, deadline: Deadline) -> int:
        self.asked += 1
        value = self.value
        self.out.release()
        assert self.go.acquire(timeout=10)
        return value


def test_who_comes_while_a_question_is_out_waits_for_the_next() -> None:
    slow = Slow()
    question = SharedQuestion(slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(question.ask, Deadline.after(10))
        assert slow.out.acquire(timeout=10)
        slow.value = 7
        others = [pool.submit(question.ask, Deadline.after(10)) for _ in range(6)]
        slow.go.release(20)
        assert first.result(10) == 0
        assert [each.result(10) for each in others] == [7] * 6
    assert slow.asked <= 7


def test_failures_are_told_to_all_who_shared_the_question() -> None:
    def fail(deadline: Deadline) -> int:
        raise Unavailable("down")

    question = SharedQuestion(fail)
    for _ in range(2):
        with pytest.raises(Unavailable, match="down"):
            question.ask(Deadline.after(5))


def test_waiting_has_an_end() -> None:
    slow = Slow()
    question = SharedQuestion(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(question.ask, Deadline.after(10))
        assert slow.out.acquire(timeout=10)
        with pytest.raises(Unavailable, match="in time"):
            question.ask(Deadline.after(0.05))
        slow.go.release()
        assert first.result(10) == 0
