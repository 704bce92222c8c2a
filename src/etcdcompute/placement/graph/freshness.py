"""One question to the store answers everybody who began to wait before it was asked.

A read may not use an answer to a question that was put before the read began: a write could have been acknowledged
in between. So whoever arrives while a question is out waits for the next one, and shares that.
"""

import threading
from collections.abc import Callable

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, Unavailable


class SharedQuestion:
    """Ask `fetch` as rarely as that rule allows. Thread-safe."""

    def __init__(self, fetch: Callable[[Deadline], int]) -> None:
        self._fetch = fetch
        self._condition = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._out = False
        self._answer: int | EtcdComputeError = 0

    def ask(self, deadline: Deadline) -> int:
        """Return an answer to a question put after this call began; raises what `fetch` raised."""
        with self._condition:
            wanted = self._asked + 1
            while self._out and self._answered < wanted:
                if not self._condition.wait(deadline.remaining_s):
                    raise Unavailable("the store does not answer in time")
            if self._answered >= wanted:
                return self._value()
            self._out = True
            self._asked += 1
            number = self._asked
        answer: int | EtcdComputeError
        answer = Unavailable("the question to the store was broken off")
        try:
            answer = self._fetch(deadline)
        except EtcdComputeError as error:
            answer = error
        finally:
            with self._condition:
                self._out = False
                self._answered = number
                self._answer = answer
                self._condition.notify_all()
        if isinstance(answer, EtcdComputeError):
            raise answer
        return answer

    def _value(self) -> int:
        if isinstance(self._answer, Unavailable):
            # A new instance: one exception object should not be raised in several threads at once.
            raise Unavailable(str(self._answer)) from self._answer
        if isinstance(self._answer, EtcdComputeError):
            raise self._answer
        return self._answer
