"""osc-placement's own tests as they are installed, with their server replaced by one of ours."""

import unittest
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from unittest.mock import patch

with warnings.catch_warnings():
    # What they warn of is their maintainers' business.
    warnings.simplefilter("ignore")
    import fixtures
    import osc_placement.tests.functional
    from placement.tests.functional.fixtures import placement


def find_tests() -> list[unittest.TestCase]:
    """Return all tests of the package, by id."""
    loader = unittest.TestLoader()
    package: Any = osc_placement.tests.functional
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = [import_module(f"{package.__name__}.{each.name}") for each in iter_modules(package.__path__)]
    suites = [loader.loadTestsFromModule(module) for module in modules if module.__name__.split(".")[-1] != "base"]
    assert not loader.errors, loader.errors
    return sorted((test for suite in suites for test in _flat(suite)), key=lambda test: test.id())


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _flat(each)
        else:
            yield each


def run(test: unittest.TestCase, endpoint: str, reset: Callable[[], None]) -> tuple[str, str]:
    """Run a test against the service at an address; return passed, failed or skipped, and what was wrong."""

    class Live(fixtures.Fixture):  # type: ignore[misc, unused-ignore]
        """Stands for OpenStack's service in this process, which every test starts afresh."""

        def _setUp(self) -> None:  # noqa: N802 - the library's name
            reset()
            self.endpoint = endpoint
            self.token = "admin"

    result = unittest.TestResult()
    with warnings.catch_warnings(), patch.object(placement, "PlacementFixture", Live):
        warnings.simplefilter("ignore")
        test.run(result)
    problems = [problem for _, problem in (*result.failures, *result.errors)]
    if problems or result.unexpectedSuccesses:
        return "failed", "\n".join(problems)
    if result.skipped:
        return "skipped", result.skipped[0][1]
    return ("passed", "") if result.testsRun == 1 else ("failed", "it did not run")
