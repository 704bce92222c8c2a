"""The same through a real server and its socket, on a few examples: what is compared elsewhere is what clients get."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import urllib3
from hypothesis import given, settings

from tests.conformance.differential.budget import budget
from tests.conformance.differential.deployments import NAMES, Deployment
from tests.conformance.differential.exchange import Answer, Ask, answer
from tests.conformance.differential.openstack import OpenStack
from tests.conformance.differential.queries import cases
from tests.conformance.differential.settling import Pair
from tests.functional.placement.server import PlacementThread


class Live:
    """Our service behind a socket; another one at every reset."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._pool = urllib3.PoolManager(retries=False, timeout=30)
        self._url = ""

    def reset(self) -> None:
        """Start over with another server."""
        self.close()
        self._url = self._stack.enter_context(PlacementThread("memory://")).url

    def close(self) -> None:
        """Stop the server."""
        self._pool.clear()
        self._stack.close()

    def ask(self, ask: Ask) -> Answer:
        """Answer a request."""
        target = f"{self._url}{ask.path}{'?' if ask.query else ''}{ask.query_string}"
        got = self._pool.request(ask.method, target, body=ask.payload or None, headers=ask.headers)
        headers = {name.lower(): value.replace(self._url, "http://placement") for name, value in got.headers.items()}
        return answer(got.status, headers, got.data)


@pytest.fixture(scope="module")
def live(openstack: OpenStack) -> Iterator[Pair]:
    server = Live()
    pair = Pair(server, openstack)
    yield pair
    pair.close()
    server.close()


@settings(budget, max_examples=10)
@given(cases())
def test_through_a_socket(live: Pair, case: tuple[Deployment, list[Ask]]) -> None:
    deployment, queries = case
    live.reset()
    for ask in (*NAMES, *deployment.requests, *queries):
        live.ask(ask)
    # What has a body over the wire where none is due, or none where one is, breaks the request behind it.
    live.ask(replace(NAMES[0], method="DELETE"))
    live.ask(Ask("GET", "/resource_providers"))
