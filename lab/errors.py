"""The errors a person sees: one sentence each, with the way out."""

from collections.abc import Sequence


class LabError(Exception):
    """Something that can be expected to go wrong; its message is for a person."""


class PreflightError(LabError):
    """What stands in the way of a lab, all of it at once, found before anything was changed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class CommandError(LabError):
    """A program that the lab called failed."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.output = output
        tail = " / ".join(output.strip().splitlines()[-3:]) or "no output"
        super().__init__(f"{argv[0]} failed with status {status}: {tail} (command: {' '.join(argv)})")
