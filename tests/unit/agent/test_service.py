"""What the agent's threads make of errors; nothing is connected to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdcompute.agent.errors import DomainRefused, HostTaken
from etcdcompute.agent.paths import StatePaths
from etcdcompute.agent.registration import HostFacts
from etcdcompute.agent.service import Agent
from etcdcompute.config import Settings
from etcdcompute.errors import Unavailable
from tests.unit.agent.samples import HOST, UUID


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    paths = StatePaths(tmp_path)
    paths.prepare()
    made = Agent(Settings(), paths, HostFacts(HOST, "host1", "", "x86_64", "qemu", "", frozenset()))
    made._alone.set()
    yield made
    made._closing.close()


def test_what_libvirt_refuses_is_not_put_on_etcd(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_uuid: str) -> None:
        raise DomainRefused("it has checkpoints")

    monkeypatch.setattr(agent._reconciler, "reconcile", refuse)
    for _ in range(3):
        agent._work_on(UUID)
    assert agent._etcd_outage.reason == ""
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        f"instance {UUID}: trying on: it has checkpoints"
    ]
    assert agent._queue.failures(UUID) == 3


def test_an_etcd_that_is_away_is_said_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_uuid: str) -> None:
        raise Unavailable("no etcd answers")

    monkeypatch.setattr(agent._reconciler, "reconcile", fail)
    for _ in range(3):
        agent._work_on(UUID)
    assert agent._etcd_outage.reason == "no etcd answers"
    assert sum("etcd is not available" in each.getMessage() for each in caplog.records) == 1


def test_nothing_is_touched_while_another_machine_is_this_host(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worked: list[str] = []
    monkeypatch.setattr(agent._reconciler, "reconcile", worked.append)
    for _ in range(3):
        agent._stand_back(HostTaken("another machine is this host"))
        agent._work_on(UUID)
    assert worked == []
    assert [each.getMessage() for each in caplog.records] == ["another machine is this host"]
    agent._begin_work()
    assert agent._resync_now.is_set()
    agent._work_on(UUID)
    assert worked == [UUID]
