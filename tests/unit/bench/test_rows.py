"""The table has every row that was agreed upon, with its floor."""

import pytest

from bench.figures import Unit
from bench.rows import ROWS, chosen
from bench.wire import BenchError

AGREED = {
    "candidates-5000": (5, Unit.MS),
    "candidates-5000-all": (50, Unit.MS),
    "candidates-20000": (5, Unit.MS),
    "candidates-20000-all": (200, Unit.MS),
    "candidates-numa": (8, Unit.MS),
    "candidates-numa-all": (250, Unit.MS),
    "candidates-wide4": (5, Unit.MS),
    "candidates-wide8": (10, Unit.MS),
    "candidates-clients": (400, Unit.PER_S),
    "claims-spread": (600, Unit.PER_S),
    "claims-tree": (400, Unit.PER_S),
    "load-flat": (50, Unit.S),
    "load-trees": (5, Unit.S),
    "memory": (300, Unit.MB),
}


def test_every_row_of_the_agreed_table_is_there_with_its_floor() -> None:
    assert {row.key: (row.floor, row.unit) for row in ROWS if row.floor is not None} == AGREED


def test_rows_have_keys_of_their_own_and_limits_that_are_rows_of_the_same_unit() -> None:
    by_key = {row.key: row for row in ROWS}
    assert len(by_key) == len(ROWS)
    for row in ROWS:
        if row.limit:
            limit = by_key[row.limit]
            assert limit.ours_only
            assert (limit.unit, limit.deployment) == (row.unit, row.deployment)


def test_the_search_that_openstack_never_ends_comes_last_on_its_deployment() -> None:
    endless = next(row for row in ROWS if row.key == "candidates-wide8")
    assert [row for row in ROWS if row.deployment is endless.deployment][-1] is endless


def test_rows_are_chosen_by_the_beginnings_of_their_keys() -> None:
    assert chosen("") == ROWS
    assert {row.key for row in chosen("load, memory")} == {"load-flat", "load-trees", "memory"}
    assert {row.key for row in chosen("candidates-wide")} == {"candidates-wide4", "candidates-wide8"}


def test_a_row_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BenchError, match=r"no row 'claim-spread'.* claims-spread"):
        chosen("claims claim-spread")
