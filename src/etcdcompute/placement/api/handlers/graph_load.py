"""Many trees in one streamed request: one JSON document a line in, and news of how it goes line by line out.

    {"refused": {"line": 7, "root": …, "status": 409, "code": …, "detail": …}}   a tree that was not declared
    {"progress": {…}}                                                            the counts so far, now and then
    {"summary": {…}}                                                             the counts, last

Each tree is all or nothing by itself; trees of one batch share transactions, in no certain order but for those of one
root. What is in memory is bounded: one batch of lines that is declared, one that comes in, and a number of lines to
send, so that a client may also send everything before it reads anything.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from etcdcompute.errors import EtcdComputeError, InvalidInput, OutcomeUnknown, Stopped, Unavailable
from etcdcompute.placement.api.handlers.graph_trees import explain_too_much
from etcdcompute.placement.api.problems import Problem, problem_of
from etcdcompute.placement.api.streams import StreamedAnswer, Streams
from etcdcompute.placement.api.tree_documents import read_tree
from etcdcompute.placement.graph.errors import TreeTooLarge
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.graph.trees import Tree, TreeOutcome

_LOG = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/x-ndjson"
MAX_LINE_BYTES: Final = 1024 * 1024
# Enough for as many lines as a store wants at once, if these are trees of a few providers.
_BATCH_BYTES: Final = 4 * 1024 * 1024
PROGRESS_LINES: Final = 500
# Refusals that wait for a client to read them; further ones are only counted.
MAX_UNREAD: Final = 10_000
_MAX_DETAIL: Final = 1000
# After these nothing that follows would fare better.
_STORE_AWAY: Final = (Unavailable, OutcomeUnknown, Stopped)
_Line = tuple[int, bytes | None]  # number, from 1; None for a line that is too long


async def load(streams: Streams, http: HttpRequest) -> StreamedAnswer:
    """Declare the tree of each line."""
    for name in http.query_params:
        raise Problem(400, f"Invalid query string parameters: {name[:100]!r} is not known; there are none.")
    lines = _Lines(streams, http, streams.store.trees_at_once)
    # The body is asked for before the answer begins: a client may wait to be told to go on.
    await lines.receive()
    return StreamedAnswer(streams, _Loading(streams, lines).pieces(), MEDIA_TYPE)


@dataclass(slots=True)
class _Counts:
    """How many trees came to what, and how many of their providers."""

    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    providers: dict[str, int] = field(default_factory=lambda: {"created": 0, "updated": 0, "removed": 0})

    def add(self, outcome: TreeOutcome) -> None:
        """Count a tree that was declared."""
        if outcome.tree.root_uuid in outcome.created:
            self.created += 1
        elif outcome.changed:
            self.updated += 1
        else:
            self.unchanged += 1
        for what, uuids in (
            ("created", outcome.created),
            ("updated", outcome.updated),
            ("removed", outcome.removed),
        ):
            self.providers[what] += len(uuids)


@dataclass(slots=True)
class _Refusal:
    line: int
    root: str | None
    error: EtcdComputeError

    def describe(self) -> dict[str, Any]:
        if isinstance(self.error, InvalidInput) and self.error.http_status == 413 and self.root is not None:
            problem = Problem(413, explain_too_much(self.error))
        else:
            problem = problem_of(self.error)
        detail = problem.detail if len(problem.detail) <= _MAX_DETAIL else f"{problem.detail[:_MAX_DETAIL]}…"
        return {
            "line": self.line,
            "root": self.root,
            "status": problem.status,
            "code": problem.code,
            "detail": detail,
        }


_Outcome = TreeOutcome | _Refusal


class _Lines:
    """The lines of a request's body as they come in."""

    def __init__(self, streams: Streams, http: HttpRequest, batch: int) -> None:
        self.read = 0
        self.ended = False
        self._batch = batch
        self._streams = streams
        self._parts = http.stream()
        self._part: asyncio.Future[bytes | None] | None = None
        self._waiting: deque[_Line] = deque()
        self._waiting_bytes = 0
        self._rest = b""
        self._skipping = False

    @property
    def enough(self) -> bool:
        """Whether no more should be read before some are taken."""
        return len(self._waiting) >= self._batch or self._waiting_bytes >= _BATCH_BYTES

    @property
    def next(self) -> int:
        """The number of the first line that was not taken."""
        return self._waiting[0][0] if self._waiting else self.read + 1

    def take(self) -> list[_Line]:
        """Return the lines for a batch; none where none are there."""
        batch: list[_Line] = []
        size = 0
        while self._waiting and len(batch) < self._batch and size < _BATCH_BYTES:
            line = self._waiting.popleft()
            batch.append(line)
            size += len(line[1] or b"")
        self._waiting_bytes -= size
        return batch

    async def receive(self, or_until: "asyncio.Future[Any] | None" = None) -> None:
        """Wait for more of the body, its end, that of the service, or something else; ClientDisconnect."""
        if self._part is None:
            self._part = asyncio.ensure_future(anext(self._parts, None))
        ending = self._streams.ending.listen()
        try:
            if not self._streams.stopping:
                others = {ending} if or_until is None else {ending, or_until}
                await asyncio.wait({self._part, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if self._part.done():
            part, self._part = self._part.result(), None
            self.ended = part is None
            # The last line may lack its end.
            self._add(part if part is not None else b"\n")

    def close(self) -> None:
        """Wait for nothing more."""
        if self._part is not None:
            self._part.cancel()

    def _add(self, part: bytes) -> None:
        *whole, self._rest = (self._rest + part).split(b"\n")
        for line in whole:
            self.read += 1
            if self._skipping or len(line) > MAX_LINE_BYTES:
                # Of one that is longer than a part, only the end is left.
                self._skipping = False
                self._waiting.append((self.read, None))
            elif line.strip():
                self._waiting.append((self.read, line))
                self._waiting_bytes += len(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._skipping = True
        if self._skipping:
            self._rest = b""


class _Loading:
    """One load under way."""

    def __init__(self, streams: Streams, lines: _Lines) -> None:
        self._streams = streams
        self._lines = lines
        self._counts = _Counts()
        self._unread: deque[bytes] = deque()
        self._unlisted = 0
        self._told_at = 0
        self._woken = asyncio.Event()
        # Why it ended early, and the first line that was not carried out.
        self._broken: tuple[str, int] | None = None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Load, and yield what there is to say; loading never waits for the client to read."""
        work = asyncio.ensure_future(self._run())
        work.add_done_callback(lambda _: self._woken.set())
        try:
            while self._unread or not work.done():
                self._woken.clear()
                said = b"".join(self._unread)
                self._unread.clear()
                if said:
                    yield said
                elif not work.done():
                    await self._woken.wait()
            work.result()
            yield _line({"summary": self._summary()})
        finally:
            self._lines.close()
            work.cancel()
            with suppress(asyncio.CancelledError, ClientDisconnect):
                await work

    async def _run(self) -> None:
        lines = self._lines
        running: asyncio.Future[list[_Outcome]] | None = None
        try:
            while self._broken is None:
                if running is not None and (running.done() or lines.enough or lines.ended or self._streams.stopping):
                    self._account(await running)
                    running = None
                elif self._streams.stopping:
                    self._broken = "the service stops", lines.next
                elif running is None and (batch := lines.take()):
                    self._counts.lines += len(batch)
                    running = self._streams.on_thread(_declare, self._streams.store, batch)
                elif lines.ended:
                    return
                else:
                    await lines.receive(running)
        except ClientDisconnect:
            if running is not None:
                self._account(await running)
            _LOG.info("a client left its load of trees behind line %d", self._counts.lines)
            raise

    def _account(self, outcomes: Sequence[_Outcome]) -> None:
        refusals: list[_Refusal] = []
        for each in outcomes:
            if isinstance(each, TreeOutcome):
                self._counts.add(each)
            else:
                refusals.append(each)
        for refusal in sorted(refusals, key=lambda each: each.line):
            if not isinstance(refusal.error, _STORE_AWAY):
                self._counts.refused += 1
                self._say({"refused": refusal.describe()})
            elif self._broken is None:
                self._broken = str(refusal.error), refusal.line
        if self._counts.lines - self._told_at >= PROGRESS_LINES:
            self._told_at = self._counts.lines
            self._say({"progress": msgspec.to_builtins(self._counts)})

    def _say(self, what: dict[str, Any]) -> None:
        if len(self._unread) < MAX_UNREAD:
            self._unread.append(_line(what))
            self._woken.set()
        elif "refused" in what:
            self._unlisted += 1

    def _summary(self) -> dict[str, Any]:
        summary = {"complete": self._broken is None, **msgspec.to_builtins(self._counts)}
        if self._unlisted:
            summary["refused_unlisted"] = self._unlisted
        if self._broken is not None:
            reason, line = self._broken
            summary["reason"] = f"The load was broken off: {reason}. Send it again from line {line} on."
            summary["continue_from_line"] = line
        return summary


def _declare(store: GraphStore, lines: Sequence[_Line]) -> list[_Outcome]:
    """Declare a batch; runs on a thread."""
    outcomes: list[_Outcome] = []
    trees: list[tuple[int, Tree]] = []
    for number, line in lines:
        try:
            if line is None:
                raise TreeTooLarge(f"The line is longer than {MAX_LINE_BYTES} bytes.")
            trees.append((number, read_tree(line)))
        except InvalidInput as error:
            outcomes.append(_Refusal(number, None, error))
    while trees:
        # Trees that are declared together may be carried out in any order; of one root the last shall count.
        together = _distinct(trees)
        try:
            declared = store.declare_trees([tree for _, tree in trees[:together]])
        except EtcdComputeError as error:
            declared = [error] * together
        for (number, tree), outcome in zip(trees, declared, strict=False):
            outcomes.append(outcome if isinstance(outcome, TreeOutcome) else _Refusal(number, tree.root_uuid, outcome))
        del trees[:together]
    return outcomes


def _distinct(trees: Sequence[tuple[int, Tree]]) -> int:
    """Return how many of the first trees have roots of their own."""
    roots: set[str] = set()
    for count, (_, tree) in enumerate(trees):
        if tree.root_uuid in roots:
            return count
        roots.add(tree.root_uuid)
    return len(trees)


def _line(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document) + b"\n"
