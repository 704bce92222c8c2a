"""The program without servers: help, errors, exit statuses, daemons' signals."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from etcdcompute.cli import exitcodes
from etcdcompute.cli.app import _NOUNS, run
from etcdcompute.cli.daemon import run_daemon
from etcdcompute.config import Settings
from etcdcompute.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    EtcdComputeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from etcdcompute.operations import TimedOut

HEAVY = ("grpc", "google.protobuf", "starlette", "uvicorn", "libvirt", "urllib3", "yaml", "msgspec", "pycdlib")


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys; from etcdcompute.cli.app import run; "
        f"run({list(arguments)!r}); print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(ended.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("instance", "--help"), ("host", "list", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert modules_after(*arguments).isdisjoint(HEAVY)


@pytest.mark.parametrize("noun", list(_NOUNS))
def test_every_noun_has_help(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([noun, "--help"]) == 0
    assert f"etcdcompute {noun}" in capsys.readouterr().out


def test_config_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDCOMPUTE_AGENT_WORKERS", "nonsense")  # the file is checked, not this shell
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("etcd: {endpoints: ['http://192.0.2.1:2379']}\n")
    bad.write_text("etcd: {endpoint: x}\n")
    assert run(["config", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: valid\n"
    assert run(["config", "check", str(bad)]) == exitcodes.INVALID
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"etcdcompute: {bad}: ")
    assert "endpoint" in complaint
    assert run(["config", "check", str(tmp_path / "none.yaml")]) == exitcodes.INVALID
    bad.write_text("placement: {listen: '192.0.2.1:8778'}\n")
    assert run(["config", "check", str(bad)]) == exitcodes.INVALID
    assert "no token is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nope"], ["instance", "nope"], ["instance", "list", "--nope"], ["config", "check"]]
)
def test_wrong_usage_is_exit_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == exitcodes.INVALID
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EtcdComputeError(""), 1),
        (InvalidInput(""), 2),
        (NotFound(""), 3),
        (AlreadyExists(""), 4),
        (Conflict(""), 4),
        (Unavailable(""), 5),
        (OutcomeUnknown(""), 5),
        (AccessDenied(""), 6),
        (TimedOut(""), 7),
    ],
)
def test_exit_statuses(error: EtcdComputeError, code: int) -> None:
    assert exitcodes.compute_exit_code(error) == code


def test_create_names_all_options_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["instance", "create", "web-1", "--vcpus", "1"]) == exitcodes.INVALID
    assert "missing --image, --sha256, --memory, --disk (or give --file)" in capsys.readouterr().err


def test_a_private_key_is_not_sent_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    options = ["--image", "/x", "--sha256", "0" * 64, "--vcpus", "1", "--memory", "1", "--disk", "1"]
    assert run(["instance", "create", "web-1", *options, "--ssh-key", str(key)]) == exitcodes.INVALID
    assert "is a private key: give the public one" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_stops_on_a_signal_and_puts_the_handlers_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    started = threading.Event()
    sent = threading.Event()
    stopped = threading.Event()

    def daemon(_settings: Settings, stop: threading.Event) -> None:
        started.set()
        assert stop.wait(20)
        assert sent.wait(20)
        stopped.set()

    def send() -> None:
        started.wait(20)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        sent.set()

    sender = threading.Thread(target=send, name="sender")
    sender.start()
    run_daemon("daemon", Settings(), daemon)
    sender.join()
    assert stopped.is_set()
    assert signal.getsignal(number) is before


def test_an_error_of_a_daemon_is_raised() -> None:
    def daemon(_settings: Settings, _stop: threading.Event) -> None:
        raise InvalidInput("listen: nonsense")

    with pytest.raises(InvalidInput, match="nonsense"):
        run_daemon("daemon", Settings(), daemon)


def test_a_bug_is_a_sentence_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> Settings:
        raise RuntimeError("oops")

    monkeypatch.setattr("etcdcompute.config.load_settings", broken)
    assert run(["config", "check", "x"]) == exitcodes.FAILED
    complaint = capsys.readouterr().err
    assert "internal error: RuntimeError: oops" in complaint
    assert "Traceback" not in complaint
    assert run(["--debug", "config", "check", "x"]) == exitcodes.FAILED
    assert "Traceback" in capsys.readouterr().err
