"""How a search asks Neo4j: what leads to the trees is counted once in a while, and everything else is checked."""

from collections.abc import Iterator
from typing import Any, cast

from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup
from etcdcompute.placement.graph.neo4j.connection import Work
from etcdcompute.placement.graph.neo4j.searching import Leads, StoredTopology


class _Database:
    """Stands for Neo4j: counts as it is told, finds nothing, and keeps what it was asked."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.counted = 0
        self.led: list[tuple[str, list[str]]] = []

    def rows(self, _statement: str, *, parts: list[dict[str, Any]], most: int) -> list[tuple[int, int]]:
        self.counted += 1
        return [(part["number"], min(self.counts[part["name"]], most)) for part in parts]

    def stream(self, _statement: str, **given: Any) -> Iterator[Any]:
        if "lead" in given:
            self.led.append((given["lead"]["name"], [part["name"] for part in given["parts"]]))
        return iter(())


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _search(database: _Database, leads: Leads, *, memory: int = 512) -> None:
    request = CandidateRequest((RequestGroup("", {"MEMORY_MB": memory, "DISK_GB": 10}),), limit=None)
    list(StoredTopology(cast("Work", database), leads).anchors(request, {}))


def test_what_is_rare_leads_and_is_counted_once_for_equal_requests() -> None:
    database, leads = _Database(MEMORY_MB=500, DISK_GB=3), Leads()
    _search(database, leads)
    _search(database, leads)
    assert database.counted == 1
    assert database.led == [("DISK_GB", ["MEMORY_MB"])] * 2


def test_another_amount_is_counted_by_itself() -> None:
    database, leads = _Database(MEMORY_MB=500, DISK_GB=30), Leads()
    _search(database, leads)
    database.counts["MEMORY_MB"] = 1
    _search(database, leads, memory=2**20)
    assert database.led == [("DISK_GB", ["MEMORY_MB"]), ("MEMORY_MB", ["DISK_GB"])]


def test_what_was_rare_leads_for_seconds_and_not_for_ever() -> None:
    clock = _Clock()
    database, leads = _Database(MEMORY_MB=500, DISK_GB=3), Leads(clock)
    _search(database, leads)
    database.counts.update(MEMORY_MB=3, DISK_GB=500)
    clock.now += 9
    _search(database, leads)
    clock.now += 2
    _search(database, leads)
    assert [lead for lead, _ in database.led] == ["DISK_GB", "DISK_GB", "MEMORY_MB"]


def test_many_different_requests_are_not_kept_for_ever() -> None:
    database, leads = _Database(MEMORY_MB=500, DISK_GB=3), Leads()
    for memory in range(1, 1001):
        _search(database, leads, memory=memory)
    database.counted = 0
    for memory in range(1, 1001):
        _search(database, leads, memory=memory)
    assert database.counted >= 500
