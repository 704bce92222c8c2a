"""The lab whose graph is in Neo4j: the fixtures of tests/lab, and the database."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cloud import Cloud, Node
from tests.lab.conftest import cloud, guest_image, instances

__all__ = ["cloud", "guest_image", "instances"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real guests on emulated processors take their time: only what hangs is cut off."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))


class Database:
    """The server, asked by the tool that the role puts beside it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def ask(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        words = ["neo4j-tool", "query", statement, json.dumps(parameters)]
        return [json.loads(line) for line in self.node.run(shlex.join(words)).splitlines()]

    def refuses(self, statement: str) -> str:
        done = self.node.try_run(shlex.join(["neo4j-tool", "query", statement]))
        assert done.returncode == 1, done.stdout
        return done.stderr


@pytest.fixture
def database(cloud: Cloud) -> Database:
    return Database(cloud.controllers[0])
