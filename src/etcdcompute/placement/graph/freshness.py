"""One question to the store answers everybody who began to wait before it was asked.

A read may not use an answer to a question that was put before the read began: a write could have been acknowledged
in between. So whoever arrives while a question is out waits for the next one, and shares that.
"""

import threading
from collections.abc import Callable
from typing import Final, Protocol

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, Unavailable
from etcdcompute.placement.suspension import Gate, gate, offload

_BROKEN_OFF: Final = "the question to the store was broken off"


class Asked(Protocol):
    """A question to the store that was sent, or could not be without waiting."""

    @property
    def arrived(self) -> bool:
        """Whether the answer is there: `result` does not wait."""

    def result(self) -> int:
        """Return the answer; where it did not come, ask again and raise what came of that."""


class _Question:
    """A question and who waits for its answer. The first of them asks it, as soon as the one before is answered."""

    def __init__(self) -> None:
        self.waiting: list[Gate] = []
        self.asks: Gate | None = None
        self.answer: int | EtcdComputeError | None = None


class SharedQuestion:
    """Put `ask` as rarely as that rule allows. Thread-safe.

    `ask` sends a question and calls what it is given, by any thread, when there is no more to wait for.
    """

    def __init__(self, ask: Callable[[Callable[[], None], Deadline], Asked]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._out = False
        self._next: _Question | None = None

    def begin(self, deadline: Deadline) -> Callable[[], int]:
        """Put a question, or join the next one; what comes back returns its answer, or raises what `Asked.result` does.

        It has to be called: others wait for the same answer.
        """
        mine = gate()
        with self._lock:
            waits = self._out
            if waits:
                question = self._next = self._next or _Question()
                question.waiting.append(mine)
            else:
                self._out = True
                question = _Question()
        if waits:
            return lambda: self._join(question, mine, deadline)
        put = self._put(question, mine, deadline)
        return lambda: self._finish(question, put, mine, deadline)

    def _join(self, question: _Question, mine: Gate, deadline: Deadline) -> int:
        self._wait(question, mine, deadline)
        if question.answer is not None:
            return _outcome(question)
        told = gate()
        return self._finish(question, self._put(question, told, deadline), told, deadline)

    def _wait(self, question: _Question, mine: Gate, deadline: Deadline) -> None:
        """Wait for the answer, or for one's turn to ask."""
        try:
            mine.wait(deadline.remaining_s)
        except BaseException:
            if self._is_asker(question, mine):
                self._settle(question, Unavailable(_BROKEN_OFF))
            raise
        if question.answer is None and not self._is_asker(question, mine):
            raise Unavailable("the store does not answer in time")

    def _is_asker(self, question: _Question, mine: Gate) -> bool:
        """Whether it is this waiter's turn to ask; if not, it has waited for too long and leaves."""
        with self._lock:
            if question.asks is mine:
                return True
            if mine in question.waiting:
                question.waiting.remove(mine)
            if not question.waiting and self._next is question:
                self._next = None
            return False

    def _put(self, question: _Question, told: Gate, deadline: Deadline) -> Asked:
        try:
            return self._ask(told.open, deadline)
        except BaseException:
            self._settle(question, Unavailable(_BROKEN_OFF))
            raise

    def _finish(self, question: _Question, put: Asked, told: Gate, deadline: Deadline) -> int:
        answer: int | EtcdComputeError = Unavailable(_BROKEN_OFF)
        try:
            told.wait(deadline.remaining_s)
            answer = put.result() if put.arrived else offload(put.result)
        except EtcdComputeError as error:
            answer = error
        finally:
            self._settle(question, answer)
        return _outcome(question)

    def _settle(self, question: _Question, answer: int | EtcdComputeError) -> None:
        """Tell who waits for the answer, and let the next question be put."""
        with self._lock:
            question.answer = answer
            waiting = list(question.waiting)
            following, self._next = self._next, None
            self._out = following is not None
            if following is not None:
                following.asks = following.waiting[0]
        for each in waiting:
            each.open()
        if following is not None and following.asks is not None:
            following.asks.open()


def _outcome(question: _Question) -> int:
    if isinstance(question.answer, EtcdComputeError):
        # A new instance: one exception object should not be raised in several threads at once.
        raise type(question.answer)(*question.answer.args) from question.answer
    assert question.answer is not None  # noqa: S101 - for the type checker
    return question.answer
