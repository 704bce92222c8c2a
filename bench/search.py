"""Where a request fits, without HTTP and etcd: the search in this process's memory, and the bytes of its answer.

    .venv/bin/python -m bench.search [--only TEXT] [--seconds S]

A row is the median processor time of as many runs as fit into the seconds. `search` is what happens while the graph
is held still, `answer` the whole: the query read, the search, the bytes; `first` is the first answer of its kind.
"""

import argparse
import gc
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from tabulate import tabulate

from etcdcompute.model.document import Document
from etcdcompute.placement.api.candidate_query import read_candidate_query
from etcdcompute.placement.api.exchange import Request
from etcdcompute.placement.api.handlers import allocation_candidates
from etcdcompute.placement.candidates.request import CandidateRequest, Candidates
from etcdcompute.placement.candidates.search import find_candidates
from etcdcompute.placement.graph.documents import ConsumerDocument, GenerationDocument, Kind, ProviderDocument, Ref
from etcdcompute.placement.graph.memory import Graph
from etcdcompute.placement.graph.records import Inventory
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.serve import GARBAGE_THRESHOLDS

Listed = tuple[Ref, Document, int]
PLAIN = "resources=VCPU:1,MEMORY_MB:256,DISK_GB:10"
COMPUTE = {
    "VCPU": Inventory(64, allocation_ratio=4.0, max_unit=64),
    "MEMORY_MB": Inventory(262144, reserved=512, max_unit=262144),
    "DISK_GB": Inventory(4096, max_unit=4096),
}
_VERSION = 39


class Still:
    """A store whose graph nobody changes."""

    def __init__(self, listed: Iterator[Listed]) -> None:
        self.graph = Graph()
        self.graph.load(listed)

    def find_candidates(self, request: CandidateRequest) -> Candidates:
        return find_candidates(self.graph, request)


def provider(
    number: int,
    inventories: Mapping[str, Inventory],
    *,
    parent: str | None = None,
    used: Mapping[str, int] | None = None,
    traits: tuple[str, ...] = (),
) -> Iterator[Listed]:
    """Give the documents of a provider, and of a consumer where something is used."""
    name = identity(number)
    document = ProviderDocument(
        uuid=name, name=f"rp-{number}", parent_uuid=parent, inventories=dict(inventories), traits=traits
    )
    yield Ref(Kind.PROVIDER, name), document, 1
    yield Ref(Kind.GENERATION, name), GenerationDocument(generation=1), 1
    if used:
        consumer = ConsumerDocument(
            uuid=f"of-{name}", generation=1, project_id="p", user_id="u", allocations={name: dict(used)}
        )
        yield Ref(Kind.CONSUMER, consumer.uuid), consumer, 1


def identity(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def flat(count: int, *, free: int | None = None, traits: tuple[str, ...] = ()) -> Iterator[Listed]:
    """Give computes without children; all but the last `free` have their memory in use."""
    for number in range(count):
        full = free is not None and number < count - free
        used = {"MEMORY_MB": 261632, "VCPU": 4} if full else None
        yield from provider(number, COMPUTE, used=used, traits=traits)


def numa(count: int) -> Iterator[Listed]:
    """Give computes with disk that have two children with processors and memory."""
    for number in range(0, 3 * count, 3):
        yield from provider(number, {"DISK_GB": COMPUTE["DISK_GB"]})
        for child in (1, 2):
            held = {name: COMPUTE[name] for name in ("VCPU", "MEMORY_MB")}
            yield from provider(number + child, held, parent=identity(number))


def wide(hosts: int, devices: int = 8, traits: tuple[tuple[str, ...], ...] = ()) -> Iterator[Listed]:
    """Give computes whose children are devices, one unit each."""
    for number in range(0, hosts * (devices + 1), devices + 1):
        yield from provider(number, COMPUTE)
        for child in range(1, devices + 1):
            has = traits[child - 1] if traits else ()
            yield from provider(number + child, {"CUSTOM_X": Inventory(1)}, parent=identity(number), traits=has)


def like(count: int, policy: str, required: Mapping[int, str] | None = None) -> str:
    """Return a query for groups of one device each."""
    groups = [f"resources{number}=CUSTOM_X:1" for number in range(1, count + 1)]
    groups += [f"required{number}={trait}" for number, trait in (required or {}).items()]
    return "&".join([*groups, f"group_policy={policy}"])


@dataclass(frozen=True)
class Case:
    """A deployment and a query."""

    title: str
    deployment: Callable[[], Iterator[Listed]]
    query: str


_PUZZLE = "&".join(
    [*(f"resources{number}=VCPU:{50 + number % 7}" for number in range(1, 10)), "group_policy=none", "limit=10"]
)
_TRAITS = (("HW_GPU_API_DXVA",),) * 3 + (("HW_CPU_X86_VMX",),) * 5
_SUBTREE = "same_subtree=1,2&resources1=VCPU:1&resources2=DISK_GB:10&group_policy=none"
CASES = (
    Case("5,000 flat, limit=10", lambda: flat(5000), f"{PLAIN}&limit=10"),
    Case("5,000 flat", lambda: flat(5000), PLAIN),
    Case("5,000 flat, 10 not full, limit=10", lambda: flat(5000, free=10), f"{PLAIN}&limit=10"),
    Case("20,000 flat, limit=10", lambda: flat(20000), f"{PLAIN}&limit=10"),
    Case("20,000 flat", lambda: flat(20000), PLAIN),
    Case("20,000 flat, all full, limit=10", lambda: flat(20000, free=0), f"{PLAIN}&limit=10"),
    Case("5,000 NUMA, limit=10", lambda: numa(5000), f"{PLAIN}&limit=10"),
    Case("5,000 NUMA", lambda: numa(5000), PLAIN),
    Case("wide, 4 groups apart, limit=10", lambda: wide(10), f"{like(4, 'isolate')}&limit=10"),
    Case("wide, 4 groups, limit=10", lambda: wide(10), f"{like(4, 'none')}&limit=10"),
    Case("wide, 8 groups apart, limit=10", lambda: wide(10), f"{like(8, 'isolate')}&limit=10"),
    Case("wide, 8 groups, limit=10", lambda: wide(10), f"{like(8, 'none')}&limit=10"),
    Case("wide, 9 groups apart, limit=10", lambda: wide(10), f"{like(9, 'isolate')}&limit=10"),
    Case("wide, 9 groups, limit=10", lambda: wide(10), f"{like(9, 'none')}&limit=10"),
    Case(
        "wide, 8 groups, 4 want one of 3, limit=10",
        lambda: wide(10, traits=_TRAITS),
        f"{like(8, 'none', dict.fromkeys((2, 4, 6, 8), 'HW_GPU_API_DXVA'))}&limit=10",
    ),
    Case("5,000 NUMA, 9 groups that do not pack, limit=10", lambda: numa(5000), _PUZZLE),
    Case("5,000 NUMA, no common subtree, limit=10", lambda: numa(5000), f"{_SUBTREE}&in_tree1={identity(1)}&limit=10"),
)


def ask(query: str) -> Request:
    """Return the request as a handler gets it."""
    return Request("GET", "/allocation_candidates", tuple(parse_qsl(query)), {}, b"", _VERSION, {})


def time_ms(work: Callable[[], object], seconds: float) -> float:
    """Return the median processor time of the runs that fit into the seconds, of three at least."""
    gc.collect()
    spans: list[float] = []
    until = time.process_time() + seconds
    while len(spans) < 3 or time.process_time() < until:
        begun = time.process_time()
        work()
        spans.append(1000 * (time.process_time() - begun))
    return statistics.median(spans)


def measure(case: Case, seconds: float) -> list[Any]:
    """Return the row of a case."""
    still = Still(case.deployment())
    store = cast(GraphStore, still)
    request = ask(case.query)
    wanted = read_candidate_query(request)
    body = b""

    def answer() -> None:
        nonlocal body
        body = allocation_candidates.find(store, request).content or b""

    begun = time.process_time()
    answer()
    first = 1000 * (time.process_time() - begun)
    search = time_ms(lambda: find_candidates(still.graph, wanted), seconds)
    whole = time_ms(answer, seconds)
    found = json.loads(body)["allocation_requests"]
    return [case.title, len(found), len(body), search, whole, first]


def resident_mb() -> int:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 // 10**6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose title has this text")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    options = parser.parse_args()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    rows = [measure(case, options.seconds) for case in CASES if options.only in case.title]
    columns = ["", "candidates", "bytes", "search ms", "answer ms", "first ms"]
    print(tabulate(rows, columns, floatfmt=".2f", intfmt=","))
    print(f"resident: {resident_mb()} MB")


if __name__ == "__main__":
    main()
