"""Requests with something wrong in them: ours and OpenStack's refuse the same, with the same codes."""

from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.differential.budget import about, budget, in_batches
from tests.conformance.differential.deployments import NAMES, Deployment
from tests.conformance.differential.histories import Step, beginning, reads, whole_state, writes
from tests.conformance.differential.malformed import bad_bodies, bad_queries
from tests.conformance.differential.queries import candidate_queries
from tests.conformance.differential.settling import Pair

_BEGINNING = Deployment(3, (), ((("VCPU", "MEMORY_MB"), ("VCPU", "MEMORY_MB")), (("VCPU", "MEMORY_MB"),)))
_asks = st.one_of(bad_queries(st.one_of(candidate_queries(_BEGINNING), reads)), bad_bodies(writes))


@in_batches
@budget
@given(about(25, _asks.map(Step)))
def test_refusals(pair: Pair, batch: int, history: list[Step]) -> None:
    pair.reset()
    for ask in (*NAMES, *beginning()):
        pair.ask(ask)
    for step in history:
        pair.ask(step.ready(pair.ours))
    for ask in whole_state():
        pair.ask(ask)
