"""The bench as a program, on our side alone: it measures every row, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import posts_rows
from bench.rows import ROWS
from tests.functional.waiting import eventually

PROJECT = Path(__file__).parents[3]


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "--peer=no", f"--folder={folder}", f"--output={folder / 'figures'}"]
    return subprocess.Popen(
        [*command, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of all processes that work in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_every_row_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    bench = start(tmp_path, ["--scale=0.01", "--rows=candidates claims load memory http"])
    output, progress = bench.communicate(timeout=240)
    assert bench.returncode == 0, progress
    assert processes_in(tmp_path) == []
    (figures,) = tmp_path.rglob("*.json")
    measured = json.loads(figures.read_text())["rows"]
    assert [row["key"] for row in measured] == [row.key for row in ROWS]
    assert all(row["ours"]["median"] > 0 for row in measured), progress
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    assert all(row.work in output for row in ROWS)


def test_the_rows_about_the_posts_are_measured_on_all_stores(tmp_path: Path) -> None:
    bench = start(tmp_path, ["--scale=0.01", "--rows=posts"])
    output, progress = bench.communicate(timeout=400)
    assert bench.returncode == 0, progress
    assert processes_in(tmp_path) == []
    (figures,) = tmp_path.rglob("*.json")
    measured = {row["key"]: row for row in json.loads(figures.read_text())["rows"]}
    assert list(measured) == [row.key for row in posts_rows.ROWS]
    for row in posts_rows.ROWS:
        assert all(measured[row.key][where]["median"] > 0 for where in row.where), progress
        assert row.work in output
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_servers_do_not_outlive_a_bench_that_is_killed(tmp_path: Path) -> None:
    bench = start(tmp_path, ["--rows=http-clients"])
    try:
        eventually(lambda: any("placement serve" in each for each in processes_in(tmp_path)), "placement is started")
    finally:
        bench.kill()
    bench.communicate(timeout=30)
    eventually(lambda: not processes_in(tmp_path), "the servers end")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_it_is_left_with_nothing(tmp_path: Path, how: signal.Signals) -> None:
    bench = start(tmp_path, ["--rows=http-clients"])
    try:
        eventually(lambda: any("placement serve" in each for each in processes_in(tmp_path)), "placement is started")
        bench.send_signal(how)
        # Being impatient does not cut the tidying short.
        bench.send_signal(how)
        _, progress = bench.communicate(timeout=30)
    finally:
        bench.kill()
    assert bench.returncode == 130, progress
    assert "Traceback" not in progress
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
