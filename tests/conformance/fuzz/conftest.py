"""Services under test, each in a process of its own, with a small deployment in it; and the figures in the end."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.fuzz.narrowing import CHILDREN, CONSUMERS, ROOTS
from tests.functional.etcd_server import EtcdServer
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.graph_client import GraphClient
from tests.functional.placement.server import PlacementProcess

# How many requests were answered how, by service.
TALLY: dict[str, Counter[int]] = {}


@pytest.fixture(scope="session")
def on_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementProcess]:
    """A service over memory; when it ends, its log must not tell of a bug."""
    with PlacementProcess("memory://", tmp_path_factory.mktemp("memory") / "log") as service:
        yield service


@pytest.fixture(scope="session")
def on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementProcess]:
    """A service over etcd."""
    with (
        EtcdServer(tmp_path_factory.mktemp("etcd")) as etcd,
        PlacementProcess(f"etcd://127.0.0.1:{etcd.port}", tmp_path_factory.mktemp("etcd") / "log") as service,
    ):
        yield service


@pytest.fixture(scope="session")
def on_neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementProcess]:
    """A service over Neo4j."""
    with (
        Neo4jServer(tmp_path_factory.mktemp("neo4j")) as server,
        PlacementProcess(server.url, tmp_path_factory.mktemp("neo4j") / "log") as service,
    ):
        yield service


def deploy(url: str) -> None:
    """Put back what requests may have removed, as far as claims allow."""
    client = GraphClient(url)
    children = [_provider(uuid, f"numa{at}", {"VCPU": 8, "CUSTOM_SLOT": 2}) for at, uuid in enumerate(CHILDREN)]
    trees = [
        _provider(ROOTS[0], "host0", {"DISK_GB": 1000}, children=children, aggregates=[CONSUMERS[0]]),
        _provider(ROOTS[1], "host1", {"VCPU": 16, "DISK_GB": 100}, traits=["CUSTOM_FAST", "HW_CPU_X86_VMX"]),
        _provider(ROOTS[2], "nfs", {"DISK_GB": 5000}, traits=["MISC_SHARES_VIA_AGGREGATE"], aggregates=[CONSUMERS[0]]),
    ]
    for tree in trees:
        client.ask("PUT", f"/graph/trees/{tree['uuid']}", tree)


def _provider(uuid: str, name: str, amounts: dict[str, int], **more: Any) -> dict[str, Any]:
    inventories = {resource: {"total": total} for resource, total in amounts.items()}
    return {"uuid": uuid, "name": name, "inventories": inventories, **more}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, statuses in TALLY.items():
        shown = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        terminalreporter.write_line(f"{name}: {statuses.total()} requests ({shown})")
