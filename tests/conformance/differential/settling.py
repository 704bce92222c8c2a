"""Asking both services, and telling an error of ours from a known one of OpenStack's."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations

from tests.conformance.differential.comparing import CANDIDATES, compare
from tests.conformance.differential.exchange import Answer, Ask, Service
from tests.conformance.differential.known_errors import (
    KNOWN_ERRORS,
    STANDING,
    all_mended,
    fails_where_refusal_is_due,
)


@dataclass
class Tally:
    """What has been compared."""

    asked: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    settled: Counter[str] = field(default_factory=Counter)

    def count(self, ask: Ask, theirs: Answer) -> None:
        """Count an answer."""
        self.asked[f"{ask.method} {theirs.status}"] += 1
        if ask.path == CANDIDATES and theirs.status == 200 and theirs.document["allocation_requests"]:
            self.candidates += 1

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.asked.most_common())
        settled = ", ".join(f"{count} {what}" for what, count in self.settled.most_common())
        return (
            f"{self.asked.total()} answers compared ({counts}), {self.candidates} with candidates; "
            f"settled by OpenStack's known errors: {settled or 'none'}"
        )


class Difference(AssertionError):
    """The answers differ, for no reason that is known."""


class Pair:
    """Both services, asked the same."""

    def __init__(self, ours: Service, theirs: Service) -> None:
        self.ours = ours
        self.theirs = theirs
        self.tally = Tally()
        self._asked: list[Ask] = []
        self._mends = ExitStack()
        self._mends.enter_context(all_mended(STANDING))

    def close(self) -> None:
        """Leave OpenStack as it was."""
        self._mends.close()

    def reset(self) -> None:
        """Let both start over."""
        self.ours.reset()
        self.theirs.reset()
        self._asked.clear()

    def ask(self, ask: Ask) -> Answer:
        """Ask both and return our answer; Difference with all that leads to it."""
        found, mine, reference = compare(ask, self.ours, self.theirs)
        self.tally.count(ask, reference)
        if found:
            found = self._settle(ask, mine, reference, found)
        if found:
            raise Difference(describe(self._asked, ask, found, mine, reference))
        if ask.method != "GET":
            self._asked.append(ask)
        return mine

    def _settle(self, ask: Ask, mine: Answer, reference: Answer, found: list[str]) -> list[str]:
        """Return what still differs from OpenStack with as few as possible of its known errors mended."""
        if fails_where_refusal_is_due(ask, mine, reference):
            self.tally.settled["fails_where_refusal_is_due"] += 1
            return []
        errors = [error for error in KNOWN_ERRORS if error.applies and error.applies(ask, reference)]
        for number in range(1, len(errors) + 1):
            for some in combinations(errors, number):
                with all_mended(some):
                    found, _, _ = compare(ask, self.ours, self.theirs)
                if not found:
                    self.tally.settled.update(error.name for error in some)
                    return []
        return found


def describe(before: list[Ask], ask: Ask, found: list[str], mine: Answer, reference: Answer) -> str:
    """Return a case as a text to read, whose requests can be replayed."""
    return "\n".join(
        [
            "the answers differ. The requests, for python -m tests.conformance.differential FILE:",
            *map(str, before),
            str(ask),
            "differences:",
            *(f"  {each}" for each in found),
            f"ours:   {mine.status} {mine.document}",
            f"theirs: {reference.status} {reference.document}",
        ]
    )
