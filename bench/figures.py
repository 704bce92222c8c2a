"""Figures out of samples: medians, rates, and how they are written."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bench.clients import Span


class Unit(StrEnum):
    """What a row is measured in."""

    MS = "ms"
    S = "s"
    PER_S = "/s"
    MB = "MB"

    @property
    def more_is_better(self) -> bool:
        """Whether the larger of two figures is the better one."""
        return self is Unit.PER_S


@dataclass(frozen=True, slots=True)
class Figure:
    """One row's result on one side: the median of `samples`; or, where nothing came in time, more than `beyond`.

    `details` are figures that help to judge it, by name.
    """

    samples: tuple[float, ...] = ()
    beyond: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median, or the bound."""
        return self.beyond if self.beyond is not None else statistics.median(self.samples)


def rates(spans: Sequence[Span], began: float, window_s: float, windows: int) -> tuple[float, ...]:
    """Return how many requests a second were served in each of several windows of time, the first from `began`.

    A request counts in each window by the share of its time that lies inside: slow requests, of which few end in any
    one window, are counted as fairly as quick ones.
    """
    served = [0.0] * windows
    for span in spans:
        duration_s = max(span.ended - span.began, 1e-9)
        first = int((span.began - began) // window_s)
        last = int((span.ended - began) // window_s)
        for window in range(max(first, 0), min(last, windows - 1) + 1):
            opens = began + window * window_s
            inside_s = min(span.ended, opens + window_s) - max(span.began, opens)
            served[window] += min(inside_s / duration_s, 1.0) if duration_s > 1e-9 else 1.0
    return tuple(count / window_s for count in served)


def ratio(unit: Unit, peer: Figure, ours: Figure) -> float:
    """Return how many times better ours is; below 1 it is worse."""
    return ours.value / peer.value if unit.more_is_better else peer.value / ours.value


def meets(unit: Unit, ours: Figure, floor: float) -> bool:
    """Tell whether a figure is as good as its floor."""
    if ours.beyond is not None:
        return False
    return ours.value >= floor if unit.more_is_better else ours.value <= floor


def written(value: float) -> str:
    """Return a number with three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def described(unit: Unit, figure: Figure) -> str:
    """Return a figure with its unit, such as `827 ms`, `2.60 /s` or `> 30 s`."""
    if figure.beyond is None:
        return f"{written(figure.value)} {unit}"
    if unit is Unit.MS:
        return f"> {figure.beyond / 1000:g} s"
    return f"> {figure.beyond:g} {unit}"
