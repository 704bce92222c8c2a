"""The tool of the role neo4j: what it makes of a server's answers, and when its watch acts."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.unit.roles.play import ROOT


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("neo4j_tool", ROOT / "roles" / "neo4j" / "files" / "neo4j_tool.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -16,
        127,
        -17,
        128,
        2**40,
        "",
        "é" * 300,
        [],
        [1, ["a", None]],
        {"a": {"b": [True, -5]}, "long": "x" * 70000},
    ],
)
def test_what_is_packed_is_read_the_same(tool: ModuleType, value: object) -> None:
    assert tool.Unpacker(tool.pack(value)).value() == value


def test_what_only_servers_write_is_read(tool: ModuleType) -> None:
    small = b"\x94\xc8\xf0\xc9\x01\x00\xc1\x3f\xf8\x00\x00\x00\x00\x00\x00\x82ab"
    assert tool.Unpacker(small).value() == [-16, 256, 1.5, "ab"]
    assert tool.Unpacker(b"\xa1\x81k\xd4\x01\xd0\x01x").value() == {"k": ["x"]}
    assert tool.Unpacker(b"\xb1\x44\xc9\x51\x2f").value() == [0x512F]


class Server:
    """What the watch sees and does; `answers` are raised one after the other, the last for ever."""

    def __init__(
        self, tool: ModuleType, patch: pytest.MonkeyPatch, *answers: Exception | None, room: int = 999
    ) -> None:
        self.answers = list(answers)
        self.room = room
        self.ended = 0
        patch.setattr(tool, "known_password", lambda: "secret")
        patch.setattr(tool, "ask_ready", self.answer)
        patch.setattr(tool, "room_mib", lambda: self.room)
        patch.setattr(tool, "end_server", self.end)

    def answer(self, _password: str) -> None:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if found is not None:
            raise found

    def end(self) -> None:
        self.ended += 1


def look(watch: object, times: int) -> None:
    for _ in range(times):
        watch.look()  # type: ignore[attr-defined]


def broken(tool: ModuleType) -> Exception:
    failed: Exception = tool.Refused("Neo.DatabaseError.Transaction.TransactionStartFailed", "a critical error.")
    return failed


def test_a_broken_database_is_started_again_after_three_answers(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(tool, monkeypatch, broken(tool))
    watch = tool.Watch()
    look(watch, 2)
    assert server.ended == 0
    look(watch, 1)
    assert server.ended == 1
    assert "a critical error (Neo.DatabaseError.Transaction.TransactionStartFailed)" in capsys.readouterr().out
    # It did not help: from then on with ever more patience.
    look(watch, 5)
    assert server.ended == 1
    look(watch, 1)
    assert server.ended == 2


def test_without_room_it_waits_for_room_and_says_so_once(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(tool, monkeypatch, broken(tool), room=100)
    watch = tool.Watch()
    look(watch, 9)
    assert server.ended == 0
    assert capsys.readouterr().out.count("less than 128 MiB") == 1
    server.room = 128
    look(watch, 1)
    assert server.ended == 1


@pytest.mark.parametrize("code", ["Unauthorized", "AuthenticationRateLimit"])
def test_a_server_with_another_password_is_left_alone(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    server = Server(tool, monkeypatch, tool.Refused(f"Neo.ClientError.Security.{code}", "no"))
    look(tool.Watch(), 50)
    assert server.ended == 0


def test_one_that_is_away_is_left_to_systemd_and_a_silent_one_gets_two_minutes(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tool, monkeypatch, tool.Away("nothing listens"))
    look(tool.Watch(), 50)
    assert server.ended == 0
    server.answers = [tool.Silent("no answer")]
    watch = tool.Watch()
    look(watch, 11)
    assert server.ended == 0
    look(watch, 1)
    assert server.ended == 1


def test_good_answers_in_between_count_anew(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tool, monkeypatch, broken(tool), broken(tool), None, broken(tool), broken(tool), None)
    look(tool.Watch(), 20)
    assert server.ended == 0
