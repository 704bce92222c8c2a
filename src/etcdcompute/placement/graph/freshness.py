"""One question to the store answers everybody who began to wait before it was asked.

A read may not use an answer to a question that was put before the read began: a write could have been acknowledged
in between. So whoever arrives while a question is out waits for the next one, and shares that.
"""

import threading
from collections.abc import Callable

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, Unavailable
from etcdcompute.placement.suspension import Gate, gate, offload


class _Question:
    """A question and who waits for its answer. The first of them asks it, as soon as the one before is answered."""

    def __init__(self) -> None:
        self.waiting: list[Gate] = []
        self.asks: Gate | None = None
        self.answer: int | EtcdComputeError | None = None


class SharedQuestion:
    """Ask `fetch` as rarely as that rule allows. Thread-safe."""

    def __init__(self, fetch: Callable[[Deadline], int]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._out = False
        self._next: _Question | None = None

    def ask(self, deadline: Deadline) -> int:
        """Return an answer to a question put after this call began; raises what `fetch` raised."""
        with self._lock:
            waits = self._out
            if waits:
                question = self._next = self._next or _Question()
                mine = gate()
                question.waiting.append(mine)
            else:
                self._out = True
                question = _Question()
        if waits:
            self._wait(question, mine, deadline)
        if question.answer is None:
            self._put(question, deadline)
        if isinstance(question.answer, EtcdComputeError):
            # A new instance: one exception object should not be raised in several threads at once.
            raise type(question.answer)(*question.answer.args) from question.answer
        assert question.answer is not None  # noqa: S101 - for the type checker
        return question.answer

    def _wait(self, question: _Question, mine: Gate, deadline: Deadline) -> None:
        """Wait for the answer, or for one's turn to ask."""
        try:
            mine.wait(deadline.remaining_s)
        except BaseException:
            if self._is_asker(question, mine):
                self._settle(question, Unavailable("the question to the store was broken off"))
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

    def _put(self, question: _Question, deadline: Deadline) -> None:
        answer: int | EtcdComputeError = Unavailable("the question to the store was broken off")
        try:
            answer = offload(self._fetch, deadline)
        except EtcdComputeError as error:
            answer = error
        finally:
            self._settle(question, answer)

    def _settle(self, question: _Question, answer: int | EtcdComputeError) -> None:
        """Tell who waits for the answer, and let the next question be put."""
        with self._lock:
            question.answer = answer
            following, self._next = self._next, None
            self._out = following is not None
            if following is not None:
                following.asks = following.waiting[0]
        for waiting in question.waiting:
            waiting.open()
        if following is not None and following.asks is not None:
            following.asks.open()
