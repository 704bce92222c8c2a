"""Who a host is, and which store it believes."""

import errno
import os
import re
import threading
from pathlib import Path

import pytest

from etcdcompute.agent import identity as identity_module
from etcdcompute.agent.identity import AgentLock, StoreMemory, host_uuid
from etcdcompute.errors import AlreadyExists, InvalidInput


def test_the_uuid_is_made_once_even_by_many(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(host_uuid(tmp_path / "host-uuid"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {host_uuid(tmp_path / "host-uuid")}
    assert re.fullmatch(r"[0-9a-f-]{36}", found[0])
    assert [path.name for path in tmp_path.iterdir()] == ["host-uuid"]


def test_a_broken_uuid_is_not_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "host-uuid").write_bytes(b"\xff nonsense")
    with pytest.raises(InvalidInput, match="restore it"):
        host_uuid(tmp_path / "host-uuid")


def test_two_agents_are_refused(tmp_path: Path) -> None:
    with (
        AgentLock(tmp_path / "lock"),
        pytest.raises(AlreadyExists, match="another agent"),
        AgentLock(tmp_path / "lock"),
    ):
        pass
    with AgentLock(tmp_path / "lock"):
        pass


def test_the_known_store_is_believed_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "store.json"
    assert StoreMemory(path).believe("one", 5)
    assert StoreMemory(path).believe("one", 5)
    assert StoreMemory(path).believe("one", 9)


def test_before_a_store_has_an_id_nothing_is_believed(tmp_path: Path) -> None:
    memory = StoreMemory(tmp_path / "store.json")
    assert not memory.believe(None, 3)
    assert memory.suspicion == ""
    assert memory.believe("one", 4)


@pytest.mark.parametrize(
    ("cluster", "revision", "said"),
    [(None, 10, "emptied or exchanged"), ("two", 10, "emptied or exchanged"), ("one", 4, "from revision 5 to 4")],
)
def test_a_suspicion_stays_until_an_operator_ends_it(
    tmp_path: Path, cluster: str | None, revision: int, said: str
) -> None:
    path = tmp_path / "store.json"
    memory = StoreMemory(path)
    assert memory.believe("one", 5)
    assert not memory.believe(cluster, revision)
    assert said in memory.suspicion
    assert not memory.believe("one", 100)
    again = StoreMemory(path)
    assert not again.believe("one", 100)
    assert said in again.suspicion
    path.unlink()
    assert StoreMemory(path).believe("one", 100)


def test_a_full_disk_is_said_once_and_the_store_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    path = tmp_path / "store.json"
    memory = StoreMemory(path)
    assert memory.believe("one", 5)
    with monkeypatch.context() as patch:
        patch.setattr(identity_module, "write_atomically", fail)
        assert memory.believe("one", 6)
        assert memory.believe("one", 7)
    (said,) = (each.getMessage() for each in caplog.records)
    assert "No space left" in said
    assert memory.believe("one", 7)
    assert not StoreMemory(path).believe("one", 6)
