"""A client of the routes below /graph, as a script would be written."""

import http.client
import json
import threading
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import urllib3

TIMEOUT_S = 30.0
LATEST = {"openstack-api-version": "placement latest"}


def provider(name: str, *children: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a provider for a tree; its uuid follows from its name."""
    return {"uuid": uuid_of(name), "name": name, "children": list(children), **fields}


def uuid_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def host(name: str) -> dict[str, Any]:
    """Return a host with two NUMA nodes."""
    numas = [
        provider(f"{name}_numa{number}", inventories={"VCPU": {"total": 8}, "MEMORY_MB": {"total": 4096}})
        for number in range(2)
    ]
    return provider(name, *numas, inventories={"DISK_GB": {"total": 2048}})


class GraphClient:
    """Asks one service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> urllib3.BaseHTTPResponse:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if body is not None else {}
        return self._pool.request(method, self.url + path, body=data, headers={**sent, **headers})

    def declare(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.ask("PUT", f"/graph/trees/{tree['uuid']}", tree)
        assert answer.status in (200, 201), answer.data
        outcome: dict[str, Any] = answer.json()
        assert (answer.status == 201) == (tree["uuid"] in outcome["created"])
        return outcome

    def tree(self, name: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/graph/trees/{uuid_of(name)}")
        assert answer.status == 200, answer.data
        found: dict[str, Any] = answer.json()
        return found

    def refused(self, status: int, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self.ask(method, path, body)
        assert answer.status == status, answer.data
        error: dict[str, Any] = answer.json()["errors"][0]
        assert error["code"]
        return error

    def claim(self, name: str, resources: Mapping[str, int], consumer: str | None = None) -> str:
        consumer = consumer or str(uuid.uuid4())
        body = {
            "allocations": {uuid_of(name): {"resources": resources}},
            "consumer_generation": None,
            "project_id": "project",
            "user_id": "user",
            "consumer_type": "INSTANCE",
        }
        answer = self.ask("PUT", f"/allocations/{consumer}", body, **LATEST)
        assert answer.status == 204, answer.data
        return consumer

    def release(self, consumer: str) -> None:
        assert self.ask("DELETE", f"/allocations/{consumer}", **LATEST).status == 204

    def export(self) -> bytes:
        answer = self.ask("GET", "/graph/export")
        assert answer.status == 200, answer.data
        return answer.data

    def load(self, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        """Load trees as one request in pieces; return the lines of the answer."""
        answer = self._pool.request(
            "POST", f"{self.url}/graph/trees", body=iter(lines), headers={"content-type": "application/x-ndjson"}
        )
        assert answer.status == 200, answer.data
        return [json.loads(line) for line in answer.data.splitlines()]

    def events(self, since: int | None = None, headers: Mapping[str, str] | None = None) -> "EventStream":
        return EventStream(self.url, since, headers or {})


class Event(NamedTuple):
    id: int
    name: str
    data: dict[str, Any]


class EventStream:
    """Server-sent events, as they come."""

    def __init__(self, url: str, since: int | None, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)
        query = "" if since is None else f"?since={since}"
        self._connection.request("GET", f"/graph/events{query}", headers=dict(headers))
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        assert self._answer.getheader("content-type") == "text/event-stream"

    def next(self) -> Event | None:
        """Return the next event, None where the stream has ended."""
        fields: dict[str, str] = {}
        while line := self._answer.readline():
            text = line.decode().rstrip("\n")
            if not text and "data" in fields:
                return Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            name, _, value = text.partition(": ")
            if name:
                fields[name] = value
        return None

    def close(self) -> None:
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class Replica:
    """The graph as a follower has it: an export, and every change after it; a new export where it lost some."""

    def __init__(self, client: GraphClient) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._things: dict[str, dict[str, Any]] = {}
        self.revision = -1
        self.resets = 0
        self._read_export()

    def _read_export(self) -> None:
        exported = json.loads(self._client.export())
        with self._changed:
            self.revision = exported["revision"]
            self._things = {
                group: {each if isinstance(each, str) else each["uuid"]: each for each in held}
                for group, held in exported.items()
                if group != "revision"
            }
            self._changed.notify_all()

    def follow(self) -> None:
        """Follow until the stream ends."""
        with self._client.events(self.revision) as stream:
            while event := stream.next():
                if event.name == "reset":
                    self.resets += 1
                    self._read_export()
                elif event.id > self.revision:
                    assert event.name == "change"
                    self._apply(event)

    def _apply(self, event: Event) -> None:
        with self._changed:
            for group, held in self._things.items():
                found = event.data.get(group, {})
                for each in (*found.get("created", ()), *found.get("changed", ())):
                    key = each if isinstance(each, str) else each["uuid"]
                    held[key] = each if isinstance(each, str) else {**held.get(key, {}), **each}
                for key in found.get("removed", ()):
                    del held[key]
            self.revision = event.id
            self._changed.notify_all()

    def wait_for(self, revision: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.revision >= revision, TIMEOUT_S), (self.revision, revision)

    def export(self) -> dict[str, Any]:
        groups = {group: [held[key] for key in sorted(held)] for group, held in self._things.items()}
        return {"revision": self.revision, **groups}
