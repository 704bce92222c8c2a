"""docs/graph-queries.md: every query of it is asked, by the command, and answers what the page says.

`REWRITE_GRAPH_QUERIES=1 pytest …` writes what is answered into the page: look at the difference.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from etcdcompute.cli.app import run
from tests.functional.neo4j_server import Neo4jServer
from tests.functional.placement.conftest import prepare
from tests.functional.placement.graph_client import GraphClient
from tests.functional.placement.server import PlacementThread
from tests.functional.placement.small_cloud import build

PAGE = Path(__file__).parents[3] / "docs" / "graph-queries.md"
_QUESTION = re.compile(
    r"```cypher\n(?P<query>.*?)```\n\n```text\n\$ (?P<command>[^\n]*)\n(?P<answer>.*?)```", re.DOTALL
)


class Question(NamedTuple):
    query: str
    command: str
    answer: str


def questions() -> list[Question]:
    found = [Question(*match.group("query", "command", "answer")) for match in _QUESTION.finditer(PAGE.read_text())]
    assert len(found) == PAGE.read_text().count("\n## ") >= 10
    return found


@pytest.fixture(scope="module")
def service(neo4j_of_session: Neo4jServer) -> Iterator[PlacementThread]:
    neo4j_of_session.wait_healthy()
    neo4j_of_session.empty()
    prepare(neo4j_of_session.url)
    with PlacementThread(neo4j_of_session.url) as running:
        build(GraphClient(running.url))
        yield running


def ask(question: Question, service: PlacementThread, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    program, *arguments = shlex.split(question.command)
    assert program == "etcdcompute"
    where = arguments.index("--file") + 1
    file = directory / arguments[where]
    file.write_text(question.query)
    arguments[where] = str(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDCOMPUTE_PLACEMENT_URLS", service.url)
        patch.setenv("ETCDCOMPUTE_CONFIG", "/dev/null")
        status = run(arguments)
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return "".join(f"{line.rstrip()}\n" for line in printed.out.splitlines())


@pytest.mark.parametrize("number", range(len(questions())))
def test_a_question_is_answered_as_the_page_says(
    number: int, service: PlacementThread, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = questions()[number]
    answer = ask(question, service, tmp_path, capsys)
    if os.environ.get("REWRITE_GRAPH_QUERIES"):
        command = f"$ {question.command}\n"
        PAGE.write_text(PAGE.read_text().replace(f"{command}{question.answer}```", f"{command}{answer}```"))
        return
    assert answer == question.answer
    assert len(answer.splitlines()) > 2, "an answer that is empty shows nothing"
