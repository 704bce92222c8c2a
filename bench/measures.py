"""How each kind of row is measured, on a stage."""

import itertools
import time
from collections.abc import Iterator

from bench import limits
from bench.clients import Job, run_clients
from bench.figures import Figure, rates
from bench.requests import LIMIT, candidates_target, check_candidates, claim, count_candidates
from bench.stage import CLIENTS, Stage
from bench.wire import Connection, TimeLimit, prepare
from etcdcompute.kv.records import Item

_REPEATS_LEAST = 5
_SEARCHES_MOST = 50
_SINGLES_MOST = 200
_WINDOWS = 5
_WARM_S = 0.5
# Where many search, one request in so many is a claim.
_CLAIM_EVERY = 20


def candidates(stage: Stage, *, limit: int | None, device_groups: int = 0) -> Figure:
    """Measure one search after another; a claim goes before each, so that no answer can be a remembered one."""
    request = prepare("GET", candidates_target(limit=limit, device_groups=device_groups))
    claims = _claims(stage)
    connection = Connection(stage.service.address, limit_s=stage.effort.time_limit_s)
    try:
        # The first is not timed but looked at.
        answer = connection.exchange(request)
        answer.check(request)
        expected = count_candidates(stage.deployment, len(stage.trees), limit=limit, device_groups=device_groups)
        check_candidates(answer.document(), count=expected, device_groups=device_groups)
        samples: list[float] = []
        for _ in _repeats(stage, _SEARCHES_MOST):
            for each in next(claims):
                connection.exchange(each).check(each)
            samples.append(_timed_ms(connection, request))
    except TimeLimit:
        return Figure(beyond=stage.effort.time_limit_s * 1000)
    finally:
        connection.close()
    return Figure(tuple(samples), details={"answer_bytes": answer.size_bytes, "candidates": expected})


def candidates_together(stage: Stage) -> Figure:
    """Measure searches by several clients at once; one request in 20 is a claim, which is not counted."""
    request = prepare("GET", candidates_target(limit=LIMIT))
    claims = _claims(stage)

    def jobs() -> Iterator[Job]:
        for number in itertools.count():
            if number % _CLAIM_EVERY == 0:
                yield next(claims)
            yield (request,)

    return _together(stage, jobs(), counted=request)


def claims_spread(stage: Stage) -> Figure:
    """Measure claims by several clients, each on the next host."""
    return _together(stage, _claims(stage))


def claims_on_one_tree(stage: Stage) -> Figure:
    """Measure claims by several clients on the roomy tree."""
    tree = stage.trees[-1]
    return _together(stage, ((claim(tree, number),) for number in stage.consumers))


def claims_one_by_one(stage: Stage) -> Figure:
    """Measure claims by one client, each on the next host."""
    jobs = zip(_repeats(stage, _SINGLES_MOST), _claims(stage), strict=False)
    return Figure(tuple(_timed_ms(stage.connection, request) for _, job in jobs for request in job))


def loading(stage: Stage) -> Figure:
    """Return what loading the stage has taken."""
    return Figure(tuple(stage.load_s))


def memory(stage: Stage) -> Figure:
    """Measure memory after loading and after a large answer, which has to be in memory, too."""
    for limit in (LIMIT, None):
        stage.connection.ask("GET", candidates_target(limit=limit))
    everything = stage.service.server.resident_mb()
    details = {"processes": len(everything), "all_processes_mb": sum(everything)}
    return Figure((stage.side.memory_mb(stage.service),), details=details)


def bare_transactions(stage: Stage) -> Figure:
    """Measure a claim's transactions in etcd from as many threads as there are clients elsewhere."""
    items = _watched_claim(stage)
    cpu_before_s = time.process_time()
    began = time.monotonic() + _WARM_S
    seconds = stage.effort.seconds
    spans = limits.commit_together(stage.service.etcd, items, threads=CLIENTS, seconds=seconds + _WARM_S)
    details = {"client_cpu_s": time.process_time() - cpu_before_s}
    return Figure(rates(spans, began, seconds / _WINDOWS, _WINDOWS), details=details)


def bare_transactions_one_by_one(stage: Stage) -> Figure:
    """Measure a claim's transactions in etcd one after another."""
    spans = limits.commit_one_by_one(stage.service.etcd, _watched_claim(stage), count=_SINGLES_MOST)
    return Figure(tuple((span.ended - span.began) * 1000 for span in spans))


def http(stage: Stage) -> Figure:
    """Measure the smallest request."""
    request = prepare("GET", "/")
    return Figure(tuple(_timed_ms(stage.connection, request) for _ in _repeats(stage, _SINGLES_MOST)))


def http_together(stage: Stage) -> Figure:
    """Measure the smallest request by several clients."""
    return _together(stage, itertools.repeat((prepare("GET", "/"),)))


def _repeats(stage: Stage, most: int) -> Iterator[int]:
    """Count for as long as a row gets, but a few times at least, and no more than enough for a median."""
    until = time.monotonic() + stage.effort.seconds
    for number in range(most):
        if number >= _REPEATS_LEAST and time.monotonic() > until:
            return
        yield number


def _claims(stage: Stage) -> Iterator[Job]:
    """Return claims by new consumers, each on the next of the usual trees."""
    trees = stage.trees[:-1] if stage.deployment.roomy else stage.trees
    return ((claim(trees[number % len(trees)], number),) for number in stage.consumers)


def _watched_claim(stage: Stage) -> list[Item]:
    (request,) = next(_claims(stage))
    return limits.watch_claim(stage.service.etcd, stage.connection, request)


def _together(stage: Stage, jobs: Iterator[Job], *, counted: bytes = b"") -> Figure:
    """Let the clients work for the time that a row gets, and return the rates of its windows."""
    seconds = stage.effort.seconds
    tally = run_clients(stage.service.address, jobs, clients=CLIENTS, seconds=seconds + _WARM_S)
    spans = [span for span in tally.spans if not counted or span.request is counted]
    details = {"requests": len(spans), "conflicts": tally.conflicts, "client_cpu_s": tally.client_cpu_s}
    return Figure(rates(spans, tally.began + _WARM_S, seconds / _WINDOWS, _WINDOWS), details=details)


def _timed_ms(connection: Connection, request: bytes) -> float:
    began = time.monotonic()
    answer = connection.exchange(request)
    ended = time.monotonic()
    answer.check(request)
    return (ended - began) * 1000
