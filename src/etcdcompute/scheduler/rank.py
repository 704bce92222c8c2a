"""Which candidate first: tiny pure functions, composed by `rank`.

placement's candidates ─ usable (alive, not cordoned) ─ shuffled (seeded) ─ least used first ─ claimed in order
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etcdcompute.placement.client import AllocationCandidates, AllocationRequest, ProviderSummary
from etcdcompute.scheduler.view import Hosts

# Hosts whose use differs by less count as equally used; the shuffle then decides.
_SAME_LOAD = 0.005


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to place the instance on one host."""

    host: str
    request: AllocationRequest


def rank(candidates: AllocationCandidates, hosts: Hosts, *, seed: str) -> tuple[Candidate, ...]:
    """Return the candidates to be claimed, best first; the same seed gives the same order."""
    usable = find_usable(candidates, hosts)
    return order_by_load(shuffle(usable, seed), candidates.provider_summaries)


def find_usable(candidates: AllocationCandidates, hosts: Hosts) -> tuple[Candidate, ...]:
    """Keep the candidates whose provider tree is a host that takes new instances."""
    found = []
    for request in candidates.requests:
        host = find_host(request.allocations, candidates.provider_summaries, hosts)
        if host is not None and hosts.takes_instances(host):
            found.append(Candidate(host, request))
    return tuple(found)


def find_host(providers: Iterable[str], summaries: Mapping[str, ProviderSummary], hosts: Hosts) -> str | None:
    """Return the host among the providers and their roots: a shared disk's provider, say, is none."""
    for provider in providers:
        summary = summaries.get(provider)
        for uuid in (provider, summary.root_uuid if summary else None):
            if uuid is not None and uuid in hosts.known:
                return uuid
    return None


def shuffle(candidates: tuple[Candidate, ...], seed: str) -> tuple[Candidate, ...]:
    """Mix them, so that creates that happen at once do not all try the same host first."""
    mixed = list(candidates)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - not a secret; replayable on purpose
    return tuple(mixed)


def order_by_load(candidates: tuple[Candidate, ...], summaries: Mapping[str, ProviderSummary]) -> tuple[Candidate, ...]:
    """Put the least used first; candidates that are equally used keep their order."""
    return tuple(sorted(candidates, key=lambda each: round(compute_load(each.request, summaries) / _SAME_LOAD)))


def compute_load(request: AllocationRequest, summaries: Mapping[str, ProviderSummary]) -> float:
    """Return how full the fullest of the requested resources would be, 0 to 1, with this request in."""
    load = 0.0
    for provider, amounts in request.allocations.items():
        summary = summaries.get(provider)
        for resource, amount in amounts.items():
            known = summary.resources.get(resource) if summary else None
            if known is None or known.capacity <= 0:
                return 1.0
            load = max(load, (known.used + amount) / known.capacity)
    return load
