"""The queue of keys: coalescing, exclusion, delays and backoff."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from etcdcompute.workqueue import WorkQueue


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_added_twice_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [queue.get(0), queue.get(0), queue.get(0)] == ["a", "b", None]


def test_a_key_added_while_worked_on_comes_once_more_and_only_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"
    queue.done("a")
    assert queue.get(0) is None


def test_a_delayed_key_waits_for_its_moment() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 5)
    assert queue.get(0) is None
    clock.now += 4.9
    assert queue.get(0) is None
    clock.now += 0.2
    assert queue.get(0) == "a"


def test_the_earlier_of_two_delays_counts() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    clock.now += 2
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now += 100
    assert queue.get(0) is None


def test_an_immediate_addition_takes_the_place_of_a_delayed_one() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now += 10
    assert queue.get(0) is None


def test_a_delay_that_ends_while_the_key_is_worked_on_has_it_worked_on_again() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add_after("a", 1)
    clock.now += 2
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_pauses_double_up_to_the_limit_and_start_over_after_forget() -> None:
    queue: WorkQueue[str] = WorkQueue(retry_base_s=1, retry_limit_s=5, clock=FakeClock())
    assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 5]
    assert queue.failures("a") == 4
    assert queue.retry("b") == 1
    queue.forget("a")
    assert queue.retry("a") == 1


def test_close_wakes_workers_that_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    answers: list[str | None] = []
    worker = threading.Thread(target=lambda: answers.append(queue.get()), name="worker")
    worker.start()
    queue.close()
    worker.join(5)
    assert answers == [None]
    queue.add("a")
    assert queue.get(0) is None


def test_a_waiting_worker_gets_a_delayed_key_in_real_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.05)
    assert queue.get(5) == "a"


def test_a_due_key_finds_an_idle_worker_though_the_one_that_was_woken_for_it_is_busy() -> None:
    queue: WorkQueue[str] = WorkQueue()
    taken: dict[str, threading.Event] = {"now": threading.Event(), "later": threading.Event()}

    def work() -> None:
        while (key := queue.get()) is not None:
            taken[key].set()  # and never done

    workers = [threading.Thread(target=work, name=f"worker-{number}") for number in range(2)]
    for worker in workers:
        worker.start()
    queue.add_after("later", 0.05)
    queue.add("now")
    assert taken["now"].wait(5)
    assert taken["later"].wait(5)
    queue.close()
    for worker in workers:
        worker.join(5)


@given(st.lists(st.tuples(st.sampled_from(["add", "after", "get", "done", "tick"]), st.integers(0, 2))))
def test_no_key_is_ever_with_two_workers_and_none_is_lost(steps: list[tuple[str, int]]) -> None:
    clock = FakeClock()
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    working: set[int] = set()
    owed: set[int] = set()
    for step, key in steps:
        if step == "add":
            queue.add(key)
            owed.add(key)
        elif step == "after":
            queue.add_after(key, 3)
            owed.add(key)
        elif step == "tick":
            clock.now += 1
        elif step == "done" and key in working:
            working.discard(key)
            queue.done(key)
        elif step == "get" and (taken := queue.get(0)) is not None:
            assert taken not in working
            working.add(taken)
            owed.discard(taken)
    for key in working:
        queue.done(key)
    clock.now += 10
    delivered = set()
    while (taken := queue.get(0)) is not None:
        delivered.add(taken)
        queue.done(taken)
    assert owed <= delivered
