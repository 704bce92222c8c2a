"""Run OpenStack's own fixtures against OpenStack's own service, and write down what they made.

usage: python openstack.py FILE FIXTURE...      (in a process of its own: they change the environment as they like)

FILE becomes JSON: by fixture, the environment variables it set and the state it made, as the service's API shows it.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import webob  # noqa: E402
from placement.tests.functional.fixtures import gabbits  # noqa: E402

HEADERS = {
    "X-Auth-Token": "admin",
    "X-Roles": "admin,service",
    "Accept": "application/json",
    "OpenStack-API-Version": "placement latest",
}


class Api:
    """OpenStack's service with a fixture's database."""

    def __init__(self) -> None:
        self._app = gabbits.setup_app()

    def get(self, path: str) -> Any:
        answer = webob.Request.blank(path, headers=HEADERS).get_response(self._app)
        assert answer.status_code == 200, f"{path}: {answer.status} {answer.text}"
        return answer.json


def read_state(api: Api) -> dict[str, Any]:
    """Return everything that the service holds."""
    providers = [read_provider(api, each) for each in api.get("/resource_providers")["resource_providers"]]
    consumers = {uuid for provider in providers for uuid in provider["consumers"]}
    return {
        "providers": providers,
        "consumers": {uuid: api.get(f"/allocations/{uuid}") for uuid in sorted(consumers)},
        "traits": [name for name in api.get("/traits")["traits"] if name.startswith("CUSTOM_")],
        "resource_classes": [
            each["name"]
            for each in api.get("/resource_classes")["resource_classes"]
            if each["name"].startswith("CUSTOM_")
        ],
    }


def read_provider(api: Api, listed: dict[str, Any]) -> dict[str, Any]:
    """Return all that there is about a provider."""
    path = f"/resource_providers/{listed['uuid']}"
    return {
        "uuid": listed["uuid"],
        "name": listed["name"],
        "generation": listed["generation"],
        "parent_uuid": listed["parent_provider_uuid"],
        "inventories": api.get(f"{path}/inventories")["inventories"],
        "traits": api.get(f"{path}/traits")["traits"],
        "aggregates": api.get(f"{path}/aggregates")["aggregates"],
        "consumers": list(api.get(f"{path}/allocations")["allocations"]),
    }


def record(name: str) -> dict[str, Any]:
    """Run one fixture and return its environment and its state."""
    before = dict(os.environ)
    fixture = getattr(gabbits, name)()
    fixture.start_fixture()
    try:
        state = read_state(Api())
        environment = {key: value for key, value in os.environ.items() if before.get(key) != value}
    finally:
        fixture.stop_fixture()
        os.environ.clear()
        os.environ.update(before)
    return {"environment": environment, **state}


if __name__ == "__main__":
    recorded = {name: record(name) for name in sys.argv[2:]}
    Path(sys.argv[1]).write_text(json.dumps(recorded), encoding="utf-8")
