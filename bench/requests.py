"""What is asked for and claimed, and whether an answer to it is right: a fast wrong answer is no answer."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench.deployments import DEVICE, DEVICES_PER_HOST, Deployment, Provider
from bench.wire import BenchError, prepare

RESOURCES = {"VCPU": 1, "MEMORY_MB": 256, "DISK_GB": 10}
LIMIT = 10


def candidates_target(*, limit: int | None = None, device_groups: int = 0) -> str:
    """Return the path and query that ask where `RESOURCES` fit, with so many groups of one device beside them."""
    target = "/allocation_candidates?resources=" + ",".join(f"{name}:{amount}" for name, amount in RESOURCES.items())
    for group in range(1, device_groups + 1):
        target += f"&resources{group}={DEVICE}:1"
    if device_groups:
        target += "&group_policy=isolate"
    return target if limit is None else f"{target}&limit={limit}"


def claim(tree: Provider, number: int) -> bytes:
    """Return the claim of `RESOURCES` from a tree by the consumer of this number, on its like children in turn."""
    allocations: dict[str, dict[str, dict[str, int]]] = {}
    for name, amount in RESOURCES.items():
        able = [provider for provider in (tree, *tree.children) if name in provider.inventories]
        chosen = able[number % len(able)]
        allocations.setdefault(chosen.uuid, {"resources": {}})["resources"][name] = amount
    body = {
        "allocations": allocations,
        "project_id": "bench-project",
        "user_id": "bench-user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    return prepare("PUT", f"/allocations/{consumer_uuid(number)}", body)


def count_candidates(deployment: Deployment, trees: int, *, limit: int | None, device_groups: int) -> int:
    """Return how many candidates are right: each group may take any device that no other group takes."""
    every = trees * deployment.ways * math.perm(DEVICES_PER_HOST, device_groups)
    return every if limit is None else min(limit, every)


def consumer_uuid(number: int) -> str:
    """Return the uuid of the consumer of this number."""
    return f"{number:08x}-bec0-4000-8000-000000000000"


def check_candidates(document: Mapping[str, Any], *, count: int, device_groups: int = 0) -> None:
    """Raise unless the answer has `count` different candidates, and each of them holds what was asked for."""
    found = document["allocation_requests"]
    if len(found) != count:
        raise BenchError(f"the answer has {len(found)} candidates where {count} are right")
    wanted = dict(RESOURCES, **({DEVICE: device_groups} if device_groups else {}))
    summaries = document["provider_summaries"]
    seen = set()
    for each in found:
        amounts = sorted(_amounts(each))
        if _totals(amounts) != wanted:
            raise BenchError(f"a candidate holds {_totals(amounts)} where {wanted} is asked for")
        if any(amount != 1 for _, name, amount in amounts if name == DEVICE):
            raise BenchError("a candidate takes two groups' devices from one provider in spite of group_policy=isolate")
        if not all(uuid in summaries for uuid, _, _ in amounts):
            raise BenchError("a candidate's provider is not among the provider summaries")
        # With groups, candidates may differ in nothing but which group takes which device.
        seen.add((tuple(amounts), tuple(sorted((group, *uuids) for group, uuids in each["mappings"].items()))))
    if len(seen) != count:
        raise BenchError(f"only {len(seen)} of {count} candidates differ")


def _amounts(candidate: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    for uuid, allocation in candidate["allocations"].items():
        for name, amount in allocation["resources"].items():
            yield uuid, name, amount


def _totals(amounts: list[tuple[str, str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for _, name, amount in amounts:
        totals[name] = totals.get(name, 0) + amount
    return totals
