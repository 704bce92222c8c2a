"""OpenStack's gabbi files, and how one of them is run against a service."""

import importlib.util
import itertools
import os
import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from gabbi import handlers, httpclient, suitemaker, utils
from gabbi.fixture import GabbiFixture

from tests.conformance.gabbi.client import shared_http
from tests.conformance.gabbi.profiles import Profile, profile_for


@dataclass(frozen=True)
class GabbiFile:
    """One file: its name, its tests as gabbi reads them, and OpenStack's fixture that it wants."""

    name: str
    suite: Mapping[str, Any]
    fixture: str

    @property
    def profile(self) -> Profile:
        """The configuration of the service that it wants."""
        return profile_for(self.fixture)


def find_files() -> list[GabbiFile]:
    """Return the files of the installed package, by name."""
    found = importlib.util.find_spec("placement")
    assert found is not None, "OpenStack's placement is not installed: make .venv/.conformance-installed"
    assert found.origin is not None
    files = []
    for path in sorted((Path(found.origin).parent / "tests" / "functional" / "gabbits").glob("*.yaml")):
        suite = utils.load_yaml(yaml_file=str(path))
        (fixture,) = suite["fixtures"]
        files.append(GabbiFile(path.stem, suite, fixture))
    return files


@dataclass
class Outcome:
    """What came of a file: tests passed, those that were excepted, and for each that failed what is wrong."""

    passed: int = 0
    excepted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_file(
    file: GabbiFile, port: int, environment: Mapping[str, str], prepare: Callable[[], None], excepted: Mapping[str, str]
) -> Outcome:
    """Run a file against the service on a port; `prepare` puts the service into the state that its fixture makes."""

    class Prepared(GabbiFixture):  # type: ignore[misc]
        def start_fixture(self) -> None:
            prepare()

    with mock.patch.object(httpclient, "get_http", shared_http):
        suite = suitemaker.test_suite_from_dict(
            unittest.TestLoader(),
            file.name,
            file.suite,
            "",
            "127.0.0.1",
            port,
            SimpleNamespace(**{file.fixture: Prepared}),
            None,
            handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
        )
    collector = _Collector()
    with mock.patch.dict(os.environ, environment):
        suite.run(collector)
    return _judge(collector.seen, excepted)


def _judge(seen: Mapping[str, str | None], excepted: Mapping[str, str]) -> Outcome:
    outcome = Outcome()
    for name, problem in seen.items():
        if name in excepted and problem is not None:
            outcome.excepted.append(name)
        elif name in excepted:
            outcome.failed[name] = f"passes, but is listed as an exception ({excepted[name]})"
        elif problem is not None:
            outcome.failed[name] = problem
        else:
            outcome.passed += 1
    for name in excepted.keys() - seen.keys():
        outcome.failed[name] = "is listed as an exception, but there is no such test"
    return outcome


def _numbered(name: str, number: int) -> str:
    """Return a name of its own for each of several tests that a file calls the same."""
    return f"{name} ({number})" if number > 1 else name


class _Collector(unittest.TestResult):
    """Remembers each test's problem by its name, None where it has none."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, str | None] = {}

    def _note(self, test: Any, problem: str | None) -> None:
        name = test.test_data["name"]
        number = next(number for number in itertools.count(1) if _numbered(name, number) not in self.seen)
        self.seen[_numbered(name, number)] = problem

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        self._note(test, None)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._note(test, str(err[1]))

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._note(test, f"{err[0].__name__}: {err[1]}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        # After a fixture's error gabbi skips all tests, the first of them included.
        self.seen.setdefault(test.test_data["name"], f"skipped: {reason}")  # type: ignore[attr-defined]
