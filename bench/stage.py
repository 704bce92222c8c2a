"""One side's service with one deployment loaded: where rows are measured."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.clients import run_clients
from bench.deployments import Deployment, Provider
from bench.sides import Service, Side
from bench.wire import BenchError, Connection, prepare

CLIENTS = 8
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: `scale` of all deployments, `seconds` for a row with several clients, and for how long one
    answer is waited for."""

    scale: float = 1.0
    seconds: float = 10.0
    time_limit_s: float = 30.0


@dataclass(slots=True)
class Stage:
    """What a row's measuring needs."""

    side: Side
    service: Service
    deployment: Deployment
    trees: Sequence[Provider]
    effort: Effort
    connection: Connection
    load_s: list[float] = field(default_factory=list)
    consumers: Iterator[int] = field(default_factory=itertools.count)


@contextmanager
def staged(side: Side, deployment: Deployment, effort: Effort, *, loads: int, say: Say) -> Iterator[Stage]:
    """Start a service and load the deployment, so many times over, each time afresh; the last one stays."""
    trees = deployment.trees(effort.scale)
    load_s: list[float] = []
    for left in reversed(range(loads)):
        say(f"{side.name}: starting, and loading {deployment.title}")
        with side.fresh() as service:
            load_s.append(load(side, service, deployment, trees))
            say(f"{side.name}: loaded in {load_s[-1]:.1f} s")
            if not left:
                connection = Connection(service.address)
                try:
                    yield Stage(side, service, deployment, trees, effort, connection, load_s)
                finally:
                    connection.close()


def load(side: Side, service: Service, deployment: Deployment, trees: Sequence[Provider]) -> float:
    """Load the trees as the side does it, see that they are there, and return the seconds it took."""
    how = _load_bulk if side.bulk and deployment.bulk else _load_standard
    seconds = how(service, trees)
    connection = Connection(service.address)
    try:
        found = len(connection.ask("GET", "/resource_providers")["resource_providers"])
        last = connection.ask("GET", f"/resource_providers/{trees[-1].uuid}/inventories")["inventories"]
    finally:
        connection.close()
    wanted = sum(1 + len(tree.children) for tree in trees)
    if found != wanted or {name: each["total"] for name, each in last.items()} != trees[-1].inventories:
        raise BenchError(f"{found} providers were found after {wanted} were loaded")
    return seconds


def _load_standard(service: Service, trees: Sequence[Provider]) -> float:
    jobs = [tuple(tree.requests()) for tree in trees]
    return run_clients(service.address, iter(jobs), clients=CLIENTS).elapsed_s


def _load_bulk(service: Service, trees: Sequence[Provider]) -> float:
    request = prepare("POST", "/graph/trees", lines=b"".join(tree.line() for tree in trees))
    connection = Connection(service.address)
    try:
        began = time.monotonic()
        answer = connection.exchange(request)
        seconds = time.monotonic() - began
    finally:
        connection.close()
    answer.check(request)
    summary = json.loads(answer.body().splitlines()[-1])["summary"]
    if summary["created"] != len(trees):
        raise BenchError(f"of {len(trees)} trees not all were created: {summary}")
    return seconds
