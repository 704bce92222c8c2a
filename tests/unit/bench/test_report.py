"""The tables and the file in the end."""

import json
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.report import Results, comparison, nearness, write_json
from bench.rows import Row, chosen
from bench.stage import Effort


def cells(table: str, work: str) -> list[str]:
    """Return what stands in the row that begins with the work, less blanks."""
    (line,) = [line for line in table.splitlines() if line.startswith(work)]
    return line.removeprefix(work).split()


@pytest.fixture
def row() -> Row:
    (row,) = chosen("candidates-wide8")
    return row


def test_a_row_shows_both_sides_the_ratio_and_the_floor() -> None:
    (row,) = chosen("claims-spread")
    results = Results({(row.key, "openstack"): Figure((60.0,)), (row.key, "ours"): Figure((1500.0,))})
    table = comparison([row], results, whole=True)
    assert cells(table, row.work) == ["60.0", "/s", "1,500", "/s", "25.0", "600", "/s", "yes"]


def test_a_missed_floor_is_told(row: Row) -> None:
    results = Results({(row.key, "openstack"): Figure((90.0,)), (row.key, "ours"): Figure((10.1,))})
    assert cells(comparison([row], results, whole=True), row.work)[-1] == "NO"


def test_a_floor_is_not_held_against_a_smaller_run(row: Row) -> None:
    results = Results({(row.key, "ours"): Figure((1.0,))})
    assert cells(comparison([row], results, whole=False), row.work)[-1] == "-"


def test_where_openstack_gives_no_answer_the_ratio_is_a_bound(row: Row) -> None:
    results = Results({(row.key, "openstack"): Figure(beyond=30_000.0), (row.key, "ours"): Figure((3.0,))})
    table = comparison([row], results, whole=True)
    assert cells(table, row.work) == [">", "30", "s", "3.00", "ms", ">", "10,000", "10", "ms", "yes"]


def test_our_side_alone_has_floors_and_no_ratio(row: Row) -> None:
    table = comparison([row], Results({(row.key, "ours"): Figure((3.0,))}), whole=True)
    assert cells(table, row.work) == ["-", "3.00", "ms", "-", "10", "ms", "yes"]


def test_a_failure_is_not_taken_for_a_figure(row: Row) -> None:
    results = Results({(row.key, "openstack"): Figure((9.0,))}, {(row.key, "ours"): "it broke"})
    table = comparison([row], results, whole=True)
    assert cells(table, row.work) == ["9.00", "ms", "failed", "-", "10", "ms", "-"]


def test_ours_is_held_against_what_the_machine_can_do() -> None:
    rows = chosen("claims-spread claims-single claims-bare")
    ours = {"claims-spread": 900.0, "claims-bare": 1800.0, "claims-single": 3.0, "claims-bare-single": 1.0}
    results = Results({(key, "ours"): Figure((value,)) for key, value in ours.items()})
    table = nearness(rows, results)
    assert [line.split()[-2:] for line in table.splitlines()[2:]] == [["50", "%"], ["33", "%"]]


def test_the_file_has_every_sample_of_both_sides_and_every_failure(tmp_path: Path, row: Row) -> None:
    (other,) = chosen("memory")
    results = Results(
        {(row.key, "openstack"): Figure(beyond=30_000.0), (row.key, "ours"): Figure((3.0, 1.0, 2.0), details={"a": 1})},
        {(other.key, "ours"): "it broke"},
    )
    path = write_json(tmp_path / "new", {"cores": 2}, Effort(), [row, other], results)
    document = json.loads(path.read_text())
    assert document["machine"] == {"cores": 2}
    wide, memory = document["rows"]
    assert (wide["openstack"]["median"], wide["openstack"]["beyond"]) == (None, 30_000.0)
    assert (wide["ours"]["median"], wide["ours"]["samples"], wide["ours"]["details"]) == (
        2.0,
        [3.0, 1.0, 2.0],
        {"a": 1},
    )
    assert memory["ours"] == {"failure": "it broke"}
    assert "openstack" not in memory
