"""What placement says about all hosts at the moment; asked only to explain why nothing fits."""

import threading
import time
from collections.abc import Callable, Mapping

from etcdcompute.placement.client import Inventory, PlacementClient, ProviderSummary

# Many instances may wait for room at once; they share an answer this long.
_FRESH_S = 1.0
# A sentence names a few hosts; beyond so many providers the nearest miss among them is good enough.
_PROVIDERS = 1000
_LIMITS_ASKED = 3


class Capacity:
    """Reads the providers' summaries with one request a resource class, however many providers there are."""

    def __init__(self, placement: PlacementClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._placement = placement
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Mapping[str, ProviderSummary]]] = {}

    def fetch_summaries(self, resources: Mapping[str, int]) -> dict[str, ProviderSummary]:
        """Return the providers that have anything free of any of the resources."""
        found: dict[str, ProviderSummary] = {}
        for resource in resources:
            found.update(self._fetch(resource))
        return found

    def fetch_limits(self, hosts: tuple[str, ...]) -> dict[str, Mapping[str, Inventory]]:
        """Return the inventories of a few of the hosts."""
        return {uuid: self._placement.get_inventories(uuid).inventories for uuid in hosts[:_LIMITS_ASKED]}

    def _fetch(self, resource: str) -> Mapping[str, ProviderSummary]:
        with self._lock:
            moment, summaries = self._known.get(resource, (0.0, {}))
            if resource in self._known and self._clock() - moment < _FRESH_S:
                return summaries
            answer = self._placement.get_allocation_candidates({resource: 1}, limit=_PROVIDERS)
            self._known[resource] = (self._clock(), answer.provider_summaries)
            return answer.provider_summaries
