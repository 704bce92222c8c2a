"""Candidates on random deployments: ours and OpenStack's are the same sets, summaries and refusals."""

from hypothesis import given

from tests.conformance.differential.budget import budget, in_batches
from tests.conformance.differential.deployments import NAMES, Deployment
from tests.conformance.differential.exchange import Ask
from tests.conformance.differential.queries import cases
from tests.conformance.differential.settling import Pair


@in_batches
@budget
@given(cases())
def test_candidates(pair: Pair, batch: int, case: tuple[Deployment, list[Ask]]) -> None:
    deployment, queries = case
    pair.reset()
    for ask in (*NAMES, *deployment.requests, *queries):
        pair.ask(ask)
