"""`etcdcompute graph demo` as a person meets it."""

import pytest

from etcdcompute.cli import exitcodes
from etcdcompute.cli.app import run
from etcdcompute.cli.graph_demo import _NAMES
from etcdcompute.placement.demo.examples import EXAMPLES


def test_the_names_are_those_of_the_examples() -> None:
    assert tuple(EXAMPLES) == _NAMES


def test_a_demo_in_memory_says_what_there_is_and_what_is_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "demo", "shared"]) == 0
    said = capsys.readouterr().out
    assert "5 candidates for MEMORY_MB:1,DISK_GB:2001" in said
    assert "Next: the others (nested, nested-shared, consumers)" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["everything"], "'everything' is not one of 'nested', 'shared'"),
        (["shared", "--size", "3"], "shared has one size only"),
        (["nested", "--size", "0"], "0 is not in the range"),
        (["shared", "--keep"], "memory:// keeps nothing"),
        (["shared", "--graph", "sqlite://x"], "names no store"),
        (["shared", "--graph", "neo4j://host"], "user or password is missing"),
    ],
)
def test_bad_input_gets_a_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "demo", *arguments]) == exitcodes.INVALID
    assert sentence in capsys.readouterr().err
