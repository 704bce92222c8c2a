"""Medians, rates, ratios, floors: what would be wrong without anybody noticing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.clients import Span
from bench.figures import Figure, Unit, described, meets, rates, ratio


def test_a_figure_is_the_median_of_its_samples() -> None:
    assert Figure((9.0, 1.0, 2.0)).value == 2.0
    assert Figure((9.0, 1.0, 2.0, 4.0)).value == 3.0


def test_requests_count_in_the_window_in_which_they_were_served() -> None:
    spans = [Span(10.0, 10.5), Span(10.5, 11.0), Span(11.0, 11.5), Span(12.0, 13.0)]
    assert rates(spans, 10.0, 1.0, 3) == (2.0, 1.0, 1.0)


def test_a_long_request_counts_in_each_window_by_its_share() -> None:
    assert rates([Span(0.0, 4.0)], 0.0, 2.0, 2) == pytest.approx((0.25, 0.25))


def test_what_lies_before_and_after_the_windows_does_not_count() -> None:
    spans = [Span(0.0, 1.0), Span(0.5, 1.5), Span(2.5, 3.5), Span(3.0, 9.0)]
    assert rates(spans, 1.0, 1.0, 2) == pytest.approx((0.5, 0.5))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0.001, 3)), max_size=30))
def test_no_request_counts_twice_or_is_lost(requests: list[tuple[float, float]]) -> None:
    spans = [Span(began, began + duration) for began, duration in requests]
    assert sum(rates(spans, 0.0, 3.0, 4)) * 3.0 == pytest.approx(len(spans))


def test_steady_clients_have_their_rate_in_every_window() -> None:
    # Eight clients whose every request takes 0.8 s: 10 a second, however the windows cut through the requests.
    spans = [Span(0.1 * client + 0.8 * n, 0.1 * client + 0.8 * (n + 1)) for client in range(8) for n in range(20)]
    assert rates(spans, 2.0, 1.5, 5) == pytest.approx((10.0,) * 5)


def test_the_ratio_says_how_many_times_better_ours_is() -> None:
    assert ratio(Unit.MS, peer=Figure((800.0,)), ours=Figure((4.0,))) == 200.0
    assert ratio(Unit.MB, peer=Figure((200.0,)), ours=Figure((400.0,))) == 0.5
    assert ratio(Unit.PER_S, peer=Figure((60.0,)), ours=Figure((600.0,))) == 10.0


def test_a_floor_is_met_from_the_better_side() -> None:
    assert meets(Unit.MS, Figure((5.0,)), 5)
    assert not meets(Unit.MS, Figure((5.1,)), 5)
    assert meets(Unit.PER_S, Figure((400.0,)), 400)
    assert not meets(Unit.PER_S, Figure((399.0,)), 400)


def test_no_answer_in_time_meets_no_floor() -> None:
    assert not meets(Unit.MS, Figure(beyond=30_000.0), 60_000)
    assert described(Unit.MS, Figure(beyond=30_000.0)) == "> 30 s"


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (Unit.MS, 0.8349, "0.83 ms"),
        (Unit.MS, 2837.4, "2,837 ms"),
        (Unit.PER_S, 37.96, "38.0 /s"),
        (Unit.S, 264.0, "264 s"),
    ],
)
def test_figures_are_written_with_their_unit(unit: Unit, value: float, text: str) -> None:
    assert described(unit, Figure((value,))) == text
