"""The most that can flow from demands to supplies."""

import itertools
from collections import deque
from collections.abc import Collection, Mapping
from typing import TypeVar

D = TypeVar("D")
S = TypeVar("S")


def max_flow(demands: Mapping[D, int], supplies: Mapping[S, int], reach: Mapping[D, Collection[S]]) -> int:
    """Return how much of the demands can be met in all, each from the supplies that it reaches."""
    wanting, having = dict(demands), dict(supplies)
    flows: dict[S, dict[D, int]] = {supply: {} for supply in supplies}
    total = 0
    for demand in demands:
        while wanting[demand]:
            path = _find_path(demand, having, reach, flows)
            if path is None:
                break
            # Alternately a demand and the supply that it draws on; each but the first gives way at the one before.
            amount = min(
                wanting[demand],
                having[path[-1][1]],
                *(flows[supply][later] for (_, supply), (later, _) in itertools.pairwise(path)),
            )
            for (_, supply), (later, _) in itertools.pairwise(path):
                flows[supply][later] -= amount
            for drawing, supply in path:
                flows[supply][drawing] = flows[supply].get(drawing, 0) + amount
            having[path[-1][1]] -= amount
            wanting[demand] -= amount
            total += amount
    return total


def _find_path(
    start: D, having: Mapping[S, int], reach: Mapping[D, Collection[S]], flows: Mapping[S, Mapping[D, int]]
) -> list[tuple[D, S]] | None:
    """Return the shortest way from a demand to a supply that is not used up, past others that can give way."""
    came_from: dict[D, tuple[D, S] | None] = {start: None}
    queue, seen = deque([start]), set[S]()
    while queue:
        demand = queue.popleft()
        for supply in reach[demand]:
            if supply in seen:
                continue
            seen.add(supply)
            if having[supply]:
                path = [(demand, supply)]
                while (step := came_from[path[0][0]]) is not None:
                    path.insert(0, step)
                return path
            for other, amount in flows[supply].items():
                if amount and other not in came_from:
                    came_from[other] = (demand, supply)
                    queue.append(other)
    return None
