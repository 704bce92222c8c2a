"""Random histories of writes: ours and OpenStack's take and refuse the same, and end up in the same state."""

from hypothesis import given

from tests.conformance.differential.budget import about, budget, in_batches
from tests.conformance.differential.deployments import NAMES
from tests.conformance.differential.histories import Step, beginning, steps, whole_state
from tests.conformance.differential.settling import Pair


@in_batches
@budget
@given(about(20, steps))
def test_histories(pair: Pair, batch: int, history: list[Step]) -> None:
    pair.reset()
    for ask in (*NAMES, *beginning()):
        pair.ask(ask)
    for step in history:
        pair.ask(step.ready(pair.ours))
    for ask in whole_state():
        pair.ask(ask)
