"""Both stores, fed the same random requests: the same answers, the same explanations, and in the end the same graph."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.differential.budget import about, budget, in_batches
from tests.conformance.differential.comparing import CANDIDATES, canonical, compare
from tests.conformance.differential.deployments import NAMES, Deployment
from tests.conformance.differential.exchange import Answer, Ask
from tests.conformance.differential.histories import Step, beginning, steps, whole_state
from tests.conformance.differential.ours import Ours
from tests.conformance.differential.queries import cases
from tests.conformance.differential.settling import describe
from tests.functional.neo4j_server import Neo4jServer

_LATEST = 39
_TIMES = re.compile(r'"(created_at|updated_at)":[0-9.e+]+')
_REQUEST = re.compile(r'"request_id": "[^"]+"')
_REVISION = re.compile(r'"revision":[0-9]+')


class Twins:
    """A service on Neo4j and one in memory, asked the same."""

    def __init__(self, neo4j: Ours, memory: Ours) -> None:
        self.neo4j = neo4j
        self.memory = memory
        self._asked: list[Ask] = []

    def reset(self) -> None:
        self.neo4j.reset()
        self.memory.reset()
        self._asked.clear()

    def ask(self, ask: Ask) -> Answer:
        found, on_neo4j, in_memory = compare(ask, self.neo4j, self.memory)
        assert not found, describe(self._asked, ask, found, on_neo4j, in_memory)
        if ask.method != "GET":
            self._asked.append(ask)
        return in_memory

    def ask_exactly(self, ask: Ask) -> Any:
        """Ask what has no order of its own but for lists of equals; return the document."""
        on_neo4j, in_memory = self.neo4j.ask(ask), self.memory.ask(ask)
        assert on_neo4j.status == in_memory.status
        same = _said(on_neo4j) == _said(in_memory)
        assert same, describe(self._asked, ask, ["document"], on_neo4j, in_memory)
        if ask.method != "GET":
            self._asked.append(ask)
        return in_memory.document

    def compare_exports(self) -> None:
        """Hold the whole graphs against each other; only when they were written, and how often, is each one's own."""
        texts = [_shown(each.ask(Ask("GET", "/graph/export"))) for each in (self.neo4j, self.memory)]
        assert texts[0] == texts[1], "\n".join(map(str, self._asked))


def _said(answer: Answer) -> str:
    """Return a document, errors included, but for the number of the request."""
    return canonical(json.loads(_REQUEST.sub('"request_id": ""', json.dumps(answer.document))))


def _shown(answer: Answer) -> str:
    text = json.dumps(answer.document, sort_keys=True, separators=(",", ":"))
    return _REVISION.sub('"revision":0', _TIMES.sub(r'"\1":0', text))


@pytest.fixture(scope="module")
def twins(neo4j_server: Neo4jServer, on_neo4j: Ours) -> Iterator[Twins]:
    memory = Ours()
    yield Twins(on_neo4j, memory)
    memory.close()
    check_sums(neo4j_server)


def check_sums(server: Neo4jServer) -> None:
    """Make sure that what inventories say is used is what is consumed of them."""
    wrong = server.run(
        """
        MATCH (i:Inventory)
        WITH i, COUNT { (i)<-[:PROVIDES]-() } AS owners, [(i)<-[k:CONSUMES]-() | k.amount] AS amounts
        WITH i, owners, reduce(sum = 0, amount IN amounts | sum + amount) AS used
        WHERE owners <> 1 OR i.used <> used OR i.free <> i.capacity - used
        RETURN properties(i) AS inventory, owners, used
        """
    )
    assert wrong == []
    assert server.run("MATCH (a:Aggregate) WHERE NOT (a)--() RETURN a.uuid AS uuid") == []
    assert server.run("MATCH (u:User) WHERE NOT (u)-[:OWNS]->() RETURN u.id AS id") == []
    assert server.run("MATCH (p:Project) WHERE NOT (p)-[:OWNS]->() RETURN p.id AS id") == []


# Each takes some ten statements of a database where memory takes none; EXAMPLES has as many as elsewhere.
few: Final = settings(budget, max_examples=25) if not os.environ.get("EXAMPLES") else budget


@in_batches
@few
@given(about(20, steps), st.randoms(use_true_random=False))
def test_histories(twins: Twins, batch: int, history: list[Step], dice: Any) -> None:
    twins.reset()
    for ask in (*NAMES, *beginning()):
        twins.ask(ask)
    for step in history:
        twins.ask(step.ready(twins.memory))
    redeclare(twins, dice)
    for ask in whole_state():
        twins.ask(ask)
    twins.compare_exports()


def redeclare(twins: Twins, dice: Any) -> None:
    """Declare each tree again with something left out of it, and remove one."""
    listed = twins.memory.ask(Ask("GET", "/resource_providers")).document["resource_providers"]
    roots = [each["uuid"] for each in listed if each["parent_provider_uuid"] is None]
    for root in sorted(roots):
        tree = twins.ask_exactly(Ask("GET", f"/graph/trees/{root}"))
        member = dice.choice([tree, *tree.get("children", [])])
        for part in ("inventories", "traits", "aggregates", "children"):
            if member.get(part) and dice.random() < 0.4:
                kept = sorted(member[part])[1:] if part != "children" else member[part][1:]
                member[part] = {name: member[part][name] for name in kept} if part == "inventories" else kept
        if dice.random() < 0.3:
            member["name"] += "-renamed"
        twins.ask_exactly(Ask("PUT", f"/graph/trees/{root}", body=tree))
    if roots and dice.random() < 0.5:
        twins.ask_exactly(Ask("DELETE", f"/graph/trees/{dice.choice(sorted(roots))}"))


@in_batches
@few
@given(cases())
def test_searches(twins: Twins, batch: int, case: tuple[Deployment, list[Ask]]) -> None:
    deployment, queries = case
    twins.reset()
    for ask in (*NAMES, *deployment.requests, *queries):
        twins.ask(ask)
        if ask.path == CANDIDATES and ask.version == _LATEST:
            for other in ("explain", "capacity"):
                twins.ask_exactly(Ask("GET", f"/graph/{other}", query=ask.query))
    twins.compare_exports()
