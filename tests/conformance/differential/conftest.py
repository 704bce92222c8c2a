"""Both services, once for all tests, and the figures in the end."""

from collections.abc import Iterator

import pytest

from tests.conformance.differential.openstack import OpenStack
from tests.conformance.differential.ours import Ours
from tests.conformance.differential.settling import Pair, Tally

_TALLIES: list[tuple[str, Tally]] = []


@pytest.fixture(scope="session")
def openstack() -> OpenStack:
    return OpenStack()


@pytest.fixture(scope="session")
def ours() -> Iterator[Ours]:
    ours = Ours()
    yield ours
    ours.close()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, ours: Ours, openstack: OpenStack) -> Iterator[Pair]:
    pair = Pair(ours, openstack)
    yield pair
    pair.close()
    _TALLIES.append((request.node.name, pair.tally))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, tally in _TALLIES:
        terminalreporter.write_line(f"{name}: {tally}")
