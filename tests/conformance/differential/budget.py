"""How much is compared: a fixed number of the same examples in CI, as many as are asked for, at random, by hand."""

import os
from itertools import chain
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

_T = TypeVar("_T")

# Deployments, histories and rounds of spoilt requests, each.
EXAMPLES: Final = int(os.environ.get("EXAMPLES") or 150)
# Hypothesis remembers all examples of a run: many are made in many runs.
_AT_ONCE: Final = 250
in_batches: Final = pytest.mark.parametrize("batch", range(-(-EXAMPLES // _AT_ONCE)))

budget: Final = settings(
    max_examples=min(EXAMPLES, _AT_ONCE),
    derandomize=not os.environ.get("EXAMPLES"),
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def about(number: int, of: st.SearchStrategy[_T]) -> st.SearchStrategy[list[_T]]:
    """Draw lists of about so many; a plain list that may be short, so that it shrinks, is short in most cases."""
    parts = st.lists(of, max_size=10)  # 5 on average
    return st.tuples(*[parts] * (number // 5)).map(lambda drawn: list(chain.from_iterable(drawn)))
