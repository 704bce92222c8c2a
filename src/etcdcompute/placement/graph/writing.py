"""Writers that come together share a transaction.

Whoever comes while nobody writes leads: it decides all that waits, one after another, commits what was decided as one
transaction, and tells everybody. Whoever comes meanwhile waits for the next round, so that under load a round carries
as many changes as arrived during the one before, and a lone change waits for nobody.

In a round each decision sees the graph with the claims decided before it, which are rehearsed on the graph and taken
back before anybody else can look. Other changes are not rehearsed: a decision that touches what one of them writes
waits for the next round. All that `Change.expected` promises to etcd, that a change holds as long as what it depends
on is as it was seen, holds among the changes of a round too; so they may be carried out together.

Where more waits than a transaction takes, as in a load, the next rounds are decided and begun while the ones before are
committed, of changes that touch nothing of them.

A refusal counts only on a graph that is known to be up to date, and only once the claims that it saw are committed.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, Protocol

from etcdcompute.deadline import Deadline
from etcdcompute.errors import EtcdComputeError, InvalidInput, OutcomeUnknown, Unavailable
from etcdcompute.placement.graph.change import Change
from etcdcompute.placement.graph.documents import CONSUMER, GENERATION, HEAD, Ref
from etcdcompute.placement.graph.errors import GenerationConflict
from etcdcompute.placement.graph.journal import Stale
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.suspension import gate

Decision = Callable[[Graph, Change], Any]

_STALE_PAUSE_S = 0.005
# How often who waits for a round that others have begun looks whether it is over.
_SETTLED_MOST_S = 1.0
# What etcd takes in one transaction unless told otherwise; it counts comparisons and operations apart.
MOST_OPERATIONS = 128
# What is tried until the store says that it is too much: fewer transactions cost less, but while one is decided nobody
# else is served. Our role has etcd take more.
_MOST_TRIED = 512
# How many rounds may be on their way at once.
_MOST_BEGUN = 2
_REHEARSED = frozenset({CONSUMER, GENERATION})


class Writable(Protocol):
    """The graph as writers need it."""

    def held_still(self) -> AbstractContextManager[Graph]:
        """Give the graph as it stands here, which may be a moment old, with nobody else looking or changing it."""

    def refresh(self, deadline: Deadline) -> None:
        """Wait until the graph has all that was written before this call; Unavailable."""

    def begin(self, change: Change, deadline: Deadline) -> Callable[[], None]:
        """Begin to carry out a change; what comes back waits for that and takes the change in.

        It raises Stale, Unavailable, OutcomeUnknown, InvalidInput.
        """


class _Ticket:
    """A decision that waits for its outcome."""

    __slots__ = ("alone", "deadline", "decision", "done", "error", "outcome", "waiter")

    def __init__(self, decision: Decision, deadline: Deadline, waiter: "_Waiter") -> None:
        self.decision = decision
        self.deadline = deadline
        self.waiter = waiter
        self.done = False
        self.alone = False
        self.outcome: Any = None
        self.error: Exception | None = None

    def settle(self, outcome: Any = None, error: Exception | None = None) -> None:
        self.outcome, self.error, self.done = outcome, error, True
        self.waiter.count_down()


class _Waiter:
    """One caller with its tickets: it is woken when all are done, or when it is its turn to lead."""

    __slots__ = ("gone", "leads", "open", "woken")

    def __init__(self, tickets: int) -> None:
        self.open = tickets
        self.leads = False
        self.gone = False
        self.woken = gate()

    def count_down(self) -> None:
        self.open -= 1
        if not self.open:
            self.woken.open()


class Writers:
    """The queue of changes. Thread-safe."""

    def __init__(self, graph: Writable) -> None:
        self._graph = graph
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        self._led = False
        self._most = _MOST_TRIED

    def change(self, decisions: Sequence[Decision], deadline: Deadline) -> list[Any]:
        """Carry out decisions, each by itself all or nothing; return for each its result, or the exception it met.

        Decisions may be run several times.
        """
        waiter = _Waiter(len(decisions))
        tickets = [_Ticket(decision, deadline, waiter) for decision in decisions]
        with self._lock:
            self._waiting.extend(tickets)
            if not self._led:
                self._led = waiter.leads = True
        try:
            if not waiter.leads and not waiter.woken.wait(deadline.remaining_s):
                self._give_up(tickets)
            while waiter.leads and waiter.open:
                self._lead()
        finally:
            self._leave(waiter)
        return [ticket.error or ticket.outcome for ticket in tickets]

    def _give_up(self, tickets: list[_Ticket]) -> None:
        """Take back what nobody has begun with in time; what somebody has will soon be known."""
        waiter = tickets[0].waiter
        with self._lock:
            for ticket in tickets:
                if not waiter.leads and ticket in self._waiting:
                    self._waiting.remove(ticket)
                    ticket.settle(error=Unavailable("changes wait for a store that is slow or away; try again"))
        while waiter.open and not waiter.leads:
            waiter.woken.wait(_SETTLED_MOST_S)

    def _leave(self, waiter: _Waiter) -> None:
        """Pass the lead on; who was broken off while it waited is waited for by nobody either."""
        with self._lock:
            waiter.gone = True
            if waiter.open:
                self._waiting = deque(ticket for ticket in self._waiting if ticket.waiter is not waiter)
            if not waiter.leads:
                return
            if not self._waiting:
                self._led = False
                return
            following = self._waiting[0].waiter
            following.leads = True
        following.woken.open()

    def _lead(self) -> None:
        """Carry out a round, and those that follow from a queue that is longer than a round."""
        with self._lock:
            tickets = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
        try:
            left = self._carry_out(tickets)
        except BaseException:
            # A bug, or the end of the service: nobody shall wait for what nobody does any more.
            _fail(tickets, OutcomeUnknown("the change was broken off inside the service"))
            raise
        with self._lock:
            self._waiting.extendleft(ticket for ticket in reversed(left) if not ticket.waiter.gone)

    def _carry_out(self, tickets: list[_Ticket]) -> list[_Ticket]:
        """Decide and commit; return the tickets that have to wait for another round."""
        fresh = False
        put_off: list[_Ticket] = []
        # What had nothing to write, or was refused, on a graph that may be old.
        undone: list[_Ticket] = []
        begun: deque[_Round] = deque()
        # What has to be decided again, in the order in which it came: once nothing is on its way any more.
        again: list[_Ticket] = []
        stale: Stale | None = None
        while tickets or undone or begun or again:
            if not begun:
                tickets, again = [*again, *tickets], []
                if stale is not None:
                    tickets, stale = self._after_stale(tickets, put_off, stale), None
                if not tickets:
                    tickets, undone = undone, []
                if not tickets:
                    break
            try:
                if tickets and not again and len(begun) < _MOST_BEGUN:
                    one = _Round(tickets, fresh=fresh and not begun, after=begun)
                    self._decide(one)
                    tickets = one.behind
                    one.begin(self._graph)
                    begun.append(one)
                    continue
                one = begun.popleft()
                one.finish()
            except Stale as error:
                again += one.unsettled
                stale = error
            except InvalidInput as error:
                self._after_too_much(one, error)
                again += one.unsettled
            except (Unavailable, OutcomeUnknown) as error:
                _fail([*one.unsettled, *again, *tickets, *undone], error)
                tickets, undone, again = [], [], []
            else:
                undone += one.settle()
                put_off += one.put_off
            fresh = True
        return put_off

    def _decide(self, one: "_Round") -> None:
        if one.fresh:
            self._graph.refresh(_most_pressing(one.tickets))
        with self._graph.held_still() as graph:
            one.decide(graph, self._most)

    def _after_too_much(self, one: "_Round", error: InvalidInput) -> None:
        """It is more than the store takes: this one change, or what was put together."""
        if len(one.decided) == 1:
            one.decided[0].settle(error=error)
        elif one.operations > MOST_OPERATIONS:
            self._most = MOST_OPERATIONS
        else:
            for ticket in one.decided:
                ticket.alone = True

    def _after_stale(self, tickets: list[_Ticket], put_off: list[_Ticket], stale: Stale) -> list[_Ticket]:
        """Return whom to try again: others are at the same documents, and fewer at once collide less."""
        for ticket in tickets:
            if ticket.deadline.expired:
                error = GenerationConflict("others keep changing the same providers; try again")
                error.__cause__ = stale
                ticket.settle(error=error)
        tickets = [ticket for ticket in tickets if not ticket.done]
        half = (len(tickets) + 1) // 2
        put_off[:0] = tickets[half:]
        # Keep out of step with the other process.
        gate().wait(random.uniform(0, _STALE_PAUSE_S))  # noqa: S311 - no secret
        return tickets[:half]


class _Round:
    """What is decided together. `after` are rounds that are being committed meanwhile: nothing of them is touched."""

    def __init__(self, tickets: Sequence[_Ticket], *, fresh: bool, after: Iterable["_Round"]) -> None:
        # All that it has to answer for.
        self.tickets = tickets
        self.fresh = fresh
        self.change = Change()
        self.decided: list[_Ticket] = []
        # What touches the same as others.
        self.put_off: list[_Ticket] = []
        # What there was no room for.
        self.behind: list[_Ticket] = []
        self._finish: Callable[[], None] | None = None
        before = [each.change for each in after]
        self._written_before = frozenset(chain.from_iterable(map(_written, before)))
        self._touched_before = self._written_before.union(*(each.expected for each in before))
        self._outcomes: dict[_Ticket, Any] = {}
        self._refusals: dict[_Ticket, EtcdComputeError] = {}
        self._sealed: set[Ref] = set()
        self._full = False

    def decide(self, graph: Graph, most: int) -> None:
        """Decide as many as can be carried out together; the graph is afterwards as it was."""
        tickets = self.tickets
        rehearsals = []
        try:
            for number, ticket in enumerate(tickets):
                change = self._decide_one(graph, ticket)
                if change is None:
                    continue
                if not self._may_join(change, ticket, most):
                    if self._full:
                        # To decide what will not fit either would cost each change of a long queue a decision a round.
                        self.behind = list(tickets[number:])
                        break
                    self.put_off.append(ticket)
                    continue
                self.change.join(change)
                self.decided.append(ticket)
                if any(ref.kind not in _REHEARSED for ref in _written(change)):
                    self._sealed.update(change.puts, change.removals)
                elif ticket is not tickets[-1]:
                    rehearsals.append(graph.rehearse(change))
        finally:
            for rehearsal in reversed(rehearsals):
                graph.take_back(rehearsal)
        # Claims are likely to be about the same providers, and each would be decided twice.
        if not self._sealed:
            self.put_off += self.behind
            self.behind = []
        self.tickets = tickets[: len(tickets) - len(self.behind)]

    def begin(self, graph: Writable) -> None:
        """Begin to commit what was decided."""
        if self.decided:
            self._finish = graph.begin(self.change, _most_pressing(self.decided))

    def finish(self) -> None:
        """Wait until it is committed; raises what `Writable.begin` says."""
        if self._finish is not None:
            self._finish()

    @property
    def unsettled(self) -> list[_Ticket]:
        """Those of its tickets whose outcome is not known."""
        return [ticket for ticket in self.tickets if not ticket.done]

    def _decide_one(self, graph: Graph, ticket: _Ticket) -> Change | None:
        """Return the change that a decision asks for, None where there is nothing to write."""
        change = Change()
        try:
            self._outcomes[ticket] = ticket.decision(graph, change)
        except EtcdComputeError as refusal:
            self._refusals[ticket] = refusal
            return None
        except Exception as bug:  # noqa: BLE001 - it is its caller's, and no reason to break off everybody else's change
            ticket.settle(error=bug)
            return None
        return None if change.empty else change

    def _may_join(self, change: Change, ticket: _Ticket, most: int) -> bool:
        if not (self._written_before.isdisjoint(change.expected) and change.leaves_alone(self._touched_before)):
            return False
        if (self._written_before or self._sealed) and HEAD in change.expected:
            # It depends on everything, and has seen neither what is on its way nor what is not rehearsed.
            return False
        if not self.decided:
            return True
        if ticket.alone or self.decided[0].alone:
            return False
        if _operations(self.change, change) > most:
            self._full = True
            return False
        return self._sealed.isdisjoint(change.expected) and change.leaves_alone(self._sealed)

    @property
    def operations(self) -> int:
        """How many the store has to do, or to compare, as the store counts them."""
        return _operations(self.change)

    def settle(self) -> list[_Ticket]:
        """Tell those whose outcome is known; on a graph that may be old nothing follows from what writes nothing.

        Returns those of whom nothing is known.
        """
        written = set(self.decided)
        waiting = {*self.put_off, *self.behind}
        for ticket, outcome in self._outcomes.items():
            if ticket in written or (self.fresh and ticket not in waiting):
                ticket.settle(outcome)
        if self.fresh:
            for ticket, refusal in self._refusals.items():
                ticket.settle(error=refusal)
        return [ticket for ticket in self.unsettled if ticket not in waiting]


def _operations(change: Change, other: Change | None = None) -> int:
    """Return how many operations, or comparisons, one or two changes are at most together."""
    compared, written = len(change.expected), len(change.puts) + len(change.removals)
    if other is not None:
        compared += len(other.expected)
        written += len(other.puts) + len(other.removals)
    # One more comparison is that no import is under way, one more operation the head's.
    return max(compared, written) + 1


def _most_pressing(tickets: Iterable[_Ticket]) -> Deadline:
    return min((ticket.deadline for ticket in tickets), key=lambda deadline: deadline.at)


def _written(change: Change) -> Iterator[Ref]:
    yield from change.puts
    yield from change.removals


def _fail(tickets: Sequence[_Ticket], error: EtcdComputeError) -> None:
    """Give each its own instance of the error: one exception object should not be raised in several threads at once."""
    for ticket in tickets:
        if not ticket.done:
            own = type(error)(*error.args)
            own.__cause__ = error
            ticket.settle(error=own)
