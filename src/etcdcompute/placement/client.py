"""A small synchronous client of the placement API, for scheduler, agent and CLI.

It speaks one microversion, tries the given servers in turn, and turns answers into frozen records and refusals into
the error tree:

    Unavailable          no server answered, or the one that did cannot reach its store; nothing was changed
    OutcomeUnknown       the request was sent, the answer was lost, and looking again did not settle it
    NotFound             404
    InvalidInput         400 and other refusals of what was sent
    AccessDenied         401, 403
    Conflict             409
    ├── GenerationConflict   somebody wrote first: read again
    ├── NoCapacity           what was to be claimed is not free (any more)
    └── InUse                what was to be deleted is used; `consumers` names by whom

A client may be shared by threads.
"""

import json
import logging
import re
import time
import uuid as uuid_module
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3

from etcdcompute.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    EtcdComputeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from etcdcompute.placement.clocks import ClockOffset, Clocks

_LOG = logging.getLogger(__name__)
_MICROVERSION = "placement 1.39"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The service tells the end of a query in time somewhat later.
_QUERY_GRACE_S = 10.0
# Reads, and writes whose repetition ends in the same state: sent again elsewhere when an answer was lost.
_REPEATABLE = frozenset({"GET", "DELETE"})


class GenerationConflict(Conflict):
    """The generation sent is not the current one: read again and decide again."""

    code = "placement.concurrent_update"


class NoCapacity(Conflict):
    """A provider has not (or no longer) got what was to be claimed."""

    code = "placement.no_capacity"


class InUse(Conflict):
    """What was to be deleted is in use; `consumers` are the uuids of those who use it, where the server named them."""

    code = "placement.in_use"
    retryable = False

    def __init__(self, message: str, consumers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.consumers = consumers


@dataclass(frozen=True, slots=True)
class ResourceProvider:
    """A provider as the server knows it."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None = None
    root_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """How much of one resource class a provider has; capacity is (total - reserved) x allocation_ratio."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 2147483647
    step_size: int = 1
    allocation_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Inventories:
    """A provider's inventories by resource class, and the provider's generation."""

    generation: int
    inventories: Mapping[str, Inventory]


@dataclass(frozen=True, slots=True)
class Traits:
    """A provider's traits and generation."""

    generation: int
    traits: frozenset[str]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The uuids of a provider's aggregates, and the provider's generation."""

    generation: int
    aggregates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Usages:
    """What is claimed from a provider, by resource class, and the provider's generation."""

    generation: int
    usages: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProviderAllocations:
    """Who claims what from one provider: consumer uuid -> resource class -> amount."""

    generation: int
    allocations: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Allocations:
    """What one consumer has: provider uuid -> resource class -> amount; no generation where it has nothing."""

    allocations: Mapping[str, Mapping[str, int]]
    consumer_generation: int | None = None
    project_id: str | None = None
    user_id: str | None = None
    consumer_type: str | None = None


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One candidate: what to claim from which provider, ready for `claim`; `mappings` says which group went where."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceSummary:
    """Capacity and use of one resource class at one provider."""

    capacity: int
    used: int


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider in the trees of the candidates."""

    resources: Mapping[str, ResourceSummary]
    traits: frozenset[str]
    parent_uuid: str | None
    root_uuid: str | None


@dataclass(frozen=True, slots=True)
class AllocationCandidates:
    """The candidates in the server's order, and the providers they are about by uuid."""

    requests: tuple[AllocationRequest, ...]
    provider_summaries: Mapping[str, ProviderSummary]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query found; `truncated` says that there is more."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    truncated: bool
    took_ms: float


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any


class PlacementClient:
    """Typed calls to a placement service that runs at one or several URLs."""

    def __init__(self, urls: Sequence[str], *, token: str | None = None, timeout_s: float = 5.0) -> None:
        if not urls:
            raise InvalidInput("placement: no server URL is given; set placement.urls")
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._preferred = 0
        self._headers = {"openstack-api-version": _MICROVERSION, "accept": "application/json"}
        if token:
            self._headers["x-auth-token"] = token
        self._connect_s = min(timeout_s, 3.0)
        self._timeout = self._timeout_of(timeout_s)
        self._pool = urllib3.PoolManager(maxsize=8, retries=False)
        self._clocks = Clocks()
        self._compared = 0

    @property
    def clock_offset(self) -> ClockOffset | None:
        """The offset of the server whose clock differed most from ours; None where no server has told its time."""
        return self._clocks.worst

    def compare_clock(self) -> None:
        """Ask one server, the next one each time, to learn its time; that of one that does not answer is forgotten."""
        url = self._urls[self._compared % len(self._urls)]
        self._compared += 1
        try:
            self._send_to(url, "GET", "/", None, None)
        except (Unavailable, OutcomeUnknown):
            # It may be gone for good, and what was said of its clock could never be taken back.
            self._clocks.forget(url)
        except EtcdComputeError:
            pass  # A refusal tells the time as well as any answer.

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _timeout_of(self, patience_s: float) -> urllib3.Timeout:
        return urllib3.Timeout(connect=self._connect_s, read=patience_s)

    # Providers

    def ensure_resource_provider(
        self, uuid: str, name: str, parent_uuid: str | None = None, *, keep_parent: bool = False
    ) -> ResourceProvider:
        """Return the provider, created, renamed or moved below `parent_uuid` if it is not as asked for.

        With `keep_parent` one that exists stays where somebody put it.
        """
        wanted = {"name": name, "parent_provider_uuid": parent_uuid}
        try:
            provider = self.get_resource_provider(uuid)
        except NotFound:
            try:
                body = self._send("POST", "/resource_providers", {"uuid": uuid, **wanted}).body
                return _provider(body)
            except (Conflict, OutcomeUnknown) as error:
                # Somebody (perhaps this very request, its answer lost) was first, or the name is another's.
                try:
                    provider = self.get_resource_provider(uuid)
                except NotFound:
                    raise _name_taken(error, name) from error
        if keep_parent:
            wanted["parent_provider_uuid"] = provider.parent_uuid
        if provider.name == name and provider.parent_uuid == wanted["parent_provider_uuid"]:
            return provider
        try:
            return _provider(self._send("PUT", f"/resource_providers/{uuid}", wanted).body)
        except Conflict as error:
            raise _name_taken(error, name) from error

    def get_resource_provider(self, uuid: str) -> ResourceProvider:
        """Return the provider; NotFound where there is none."""
        return _provider(self._send("GET", f"/resource_providers/{uuid}").body)

    def list_resource_providers(self, **filters: str) -> tuple[ResourceProvider, ...]:
        """Return the providers that match: name, uuid, in_tree, resources, member_of, required as the API has them."""
        query = f"?{urlencode(filters)}" if filters else ""
        body = self._send("GET", f"/resource_providers{query}").body
        return tuple(_provider(each) for each in body["resource_providers"])

    def delete_resource_provider(self, uuid: str) -> None:
        """Make sure that the provider is not there; InUse names the consumers (or children) that stand in the way."""
        try:
            self._send("DELETE", f"/resource_providers/{uuid}")
        except NotFound:
            return
        except InUse as error:
            consumers = error.consumers or tuple(sorted(self.get_provider_allocations(uuid).allocations))
            raise InUse(str(error), consumers) from error

    # What a provider has

    def get_inventories(self, uuid: str) -> Inventories:
        """Return the provider's inventories."""
        return _inventories(self._send("GET", f"/resource_providers/{uuid}/inventories").body)

    def set_inventories(self, uuid: str, inventories: Mapping[str, Inventory], generation: int) -> Inventories:
        """Replace the provider's inventories; GenerationConflict where `generation` is not the current one."""
        document = {
            "resource_provider_generation": generation,
            "inventories": {name: _inventory_document(each) for name, each in inventories.items()},
        }
        return _inventories(self._send("PUT", f"/resource_providers/{uuid}/inventories", document).body)

    def get_traits(self, uuid: str) -> Traits:
        """Return the provider's traits."""
        return _traits(self._send("GET", f"/resource_providers/{uuid}/traits").body)

    def set_traits(self, uuid: str, traits: Sequence[str] | frozenset[str], generation: int) -> Traits:
        """Replace the provider's traits; InvalidInput names a trait that does not exist (see `create_trait`)."""
        document = {"resource_provider_generation": generation, "traits": sorted(set(traits))}
        return _traits(self._send("PUT", f"/resource_providers/{uuid}/traits", document).body)

    def create_trait(self, name: str) -> None:
        """Make sure that the trait, CUSTOM_…, exists."""
        self._send("PUT", f"/traits/{name}")

    def get_aggregates(self, uuid: str) -> Aggregates:
        """Return the provider's aggregates."""
        return _aggregates(self._send("GET", f"/resource_providers/{uuid}/aggregates").body)

    def set_aggregates(self, uuid: str, aggregates: Sequence[str] | frozenset[str], generation: int) -> Aggregates:
        """Replace the provider's aggregates."""
        document = {"resource_provider_generation": generation, "aggregates": sorted(set(aggregates))}
        return _aggregates(self._send("PUT", f"/resource_providers/{uuid}/aggregates", document).body)

    def get_usages(self, uuid: str) -> Usages:
        """Return what is claimed from the provider, by resource class."""
        body = self._send("GET", f"/resource_providers/{uuid}/usages").body
        return Usages(body["resource_provider_generation"], dict(body["usages"]))

    def get_provider_allocations(self, uuid: str) -> ProviderAllocations:
        """Return who claims what from the provider."""
        body = self._send("GET", f"/resource_providers/{uuid}/allocations").body
        allocations = {consumer: each["resources"] for consumer, each in body["allocations"].items()}
        return ProviderAllocations(body["resource_provider_generation"], allocations)

    # Candidates and claims

    def get_allocation_candidates(
        self,
        resources: Mapping[str, int],
        required: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        limit: int | None = None,
    ) -> AllocationCandidates:
        """Return where the resources fit now, at most `limit` of the ways; nothing is claimed by asking."""
        query = {"resources": ",".join(f"{name}:{amount}" for name, amount in sorted(resources.items()))}
        traits = [*sorted(required), *(f"!{name}" for name in sorted(forbidden))]
        if traits:
            query["required"] = ",".join(traits)
        if limit is not None:
            query["limit"] = str(limit)
        body = self._send("GET", f"/allocation_candidates?{urlencode(query)}").body
        return AllocationCandidates(
            tuple(_allocation_request(each) for each in body["allocation_requests"]),
            {uuid: _summary(each) for uuid, each in body["provider_summaries"].items()},
        )

    def get_allocations(self, consumer: str) -> Allocations:
        """Return what the consumer has; no allocations and no generation where it is unknown."""
        body = self._send("GET", f"/allocations/{consumer}").body
        return Allocations(
            {uuid: dict(each["resources"]) for uuid, each in body["allocations"].items()},
            body.get("consumer_generation"),
            body.get("project_id"),
            body.get("user_id"),
            body.get("consumer_type"),
        )

    def claim(
        self,
        consumer: str,
        allocations: Mapping[str, Mapping[str, int]],
        *,
        consumer_generation: int | None,
        project_id: str,
        user_id: str,
        consumer_type: str = "INSTANCE",
    ) -> None:
        """Give the consumer exactly these allocations (provider uuid -> resource class -> amount).

        `consumer_generation` is None for a consumer that must be new, else what `get_allocations` said.
        GenerationConflict: the consumer is not as thought. NoCapacity: try another candidate. A lost answer is looked
        into: the call returns where the claim turns out to be there.
        """
        document = {
            "allocations": {uuid: {"resources": dict(each)} for uuid, each in allocations.items()},
            "consumer_generation": consumer_generation,
            "project_id": project_id,
            "user_id": user_id,
            "consumer_type": consumer_type,
        }
        try:
            self._send("PUT", f"/allocations/{consumer}", document)
        except OutcomeUnknown as lost:
            try:
                found = self.get_allocations(consumer)
            except Unavailable:
                raise lost from None
            as_claimed = {uuid: dict(each) for uuid, each in allocations.items()}
            if found.allocations == as_claimed and found.consumer_generation != consumer_generation:
                return
            if found.consumer_generation == consumer_generation:
                # A request that was lost on its way could still arrive, but then finds the generation moved.
                self._send("PUT", f"/allocations/{consumer}", document)
                return
            raise

    def release(self, consumer: str) -> None:
        """Make sure that the consumer has nothing; that it had nothing is success."""
        try:
            self._send("DELETE", f"/allocations/{consumer}")
        except NotFound:
            return

    # Beyond OpenStack's

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0, limit: int = 1000
    ) -> Rows:
        """Return the first rows of what a query in Cypher finds, which may only read; InvalidInput says what is wrong.

        The store must be Neo4j, which ends the query after `timeout_s`.
        """
        document = {"query": statement, "parameters": dict(parameters or {}), "timeout_s": timeout_s, "limit": limit}
        try:
            body = self._send("POST", "/graph/query", document, patience_s=timeout_s + _QUERY_GRACE_S).body
        except OutcomeUnknown as error:
            # Nothing can have been changed.
            raise Unavailable(str(error)) from error
        return Rows(tuple(body["columns"]), body["rows"], body["truncated"], body["took_ms"])

    # HTTP

    def _send(self, method: str, path: str, document: object = None, *, patience_s: float | None = None) -> _Answer:
        """Send a request to the first server that answers; 2xx is returned, all else raised."""
        problem: EtcdComputeError = Unavailable("placement: no server was asked")
        start = self._preferred
        for step in range(len(self._urls)):
            index = (start + step) % len(self._urls)
            try:
                answer = self._send_to(self._urls[index], method, path, document, patience_s)
            except Unavailable as error:
                problem = error
                continue
            except OutcomeUnknown as error:
                if method not in _REPEATABLE:
                    raise
                problem = Unavailable(str(error))
                continue
            self._preferred = index
            return answer
        raise problem

    def _send_to(self, url: str, method: str, path: str, document: object, patience_s: float | None) -> _Answer:
        headers = dict(self._headers)
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            headers["content-type"] = "application/json"
        headers["x-openstack-request-id"] = f"req-{uuid_module.uuid4()}"
        asked_at = time.time()
        try:
            response = self._pool.request(
                method,
                url + path,
                body=body,
                headers=headers,
                redirect=False,
                timeout=self._timeout if patience_s is None else self._timeout_of(patience_s),
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise Unavailable(f"placement at {url} cannot be reached: {_reason(error)}") from error
        except urllib3.exceptions.LocationParseError as error:
            raise InvalidInput(f"placement: {url!r} is not a URL: {error}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise OutcomeUnknown(f"placement at {url} did not answer {method} {path}: {_reason(error)}") from error
        self._clocks.learn(url, response.headers.get("date"), asked_at)
        parsed = _parse(response.data)
        if 200 <= response.status < 300:
            return _Answer(response.status, parsed)
        raise _refusal(url, method, path, response.status, parsed)


def _reason(error: BaseException) -> str:
    text = str(error)
    return text.rpartition(": ")[2] or type(error).__name__


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None


def _refusal(url: str, method: str, path: str, status: int, body: Any) -> EtcdComputeError:
    """Return the error that a refusal means."""
    first: Mapping[str, Any] = {}
    if isinstance(body, dict) and isinstance(body.get("errors"), list) and body["errors"]:
        first = body["errors"][0]
    detail = " ".join(str(first.get("detail", f"HTTP status {status}")).split())
    code = str(first.get("code", ""))
    message = f"placement refused {method} {path.partition('?')[0]}: {detail}"
    _LOG.debug("%s answered %s %s with %d: %s", url, method, path, status, detail)
    if status in (401, 403):
        return AccessDenied(message)
    if status == 404:
        return NotFound(message)
    if status == 409:
        return _conflict(code, message)
    if status == 503 and code != "placement.outcome_unknown":
        return Unavailable(f"placement at {url} is not available: {detail}")
    if status >= 500:
        return OutcomeUnknown(f"placement at {url} failed on {method} {path.partition('?')[0]}: {detail}")
    return InvalidInput(message)


def _conflict(code: str, message: str) -> Conflict:
    if code == "placement.concurrent_update":
        return GenerationConflict(message)
    if code.endswith((".inuse", ".cannot_delete_parent")):
        named = message.rpartition("consumers: ")
        return InUse(message, tuple(_UUID.findall(named[2])) if named[1] else ())
    if code == "placement.duplicate_name":
        return Conflict(message)
    return NoCapacity(message)


def _name_taken(error: EtcdComputeError, name: str) -> EtcdComputeError:
    if isinstance(error, Conflict) and "already exists" in str(error):
        return AlreadyExists(f"{error}; another provider has the name {name!r}: delete it or choose another name")
    return error


def _provider(body: Any) -> ResourceProvider:
    return ResourceProvider(
        body["uuid"],
        body["name"],
        body["generation"],
        body.get("parent_provider_uuid"),
        body.get("root_provider_uuid"),
    )


def _inventory_document(inventory: Inventory) -> dict[str, object]:
    return {name: getattr(inventory, name) for name in Inventory.__slots__}


def _inventories(body: Any) -> Inventories:
    return Inventories(
        body["resource_provider_generation"],
        {
            name: Inventory(**{key: each[key] for key in Inventory.__slots__})
            for name, each in body["inventories"].items()
        },
    )


def _traits(body: Any) -> Traits:
    return Traits(body["resource_provider_generation"], frozenset(body["traits"]))


def _aggregates(body: Any) -> Aggregates:
    return Aggregates(body["resource_provider_generation"], frozenset(body["aggregates"]))


def _allocation_request(body: Any) -> AllocationRequest:
    return AllocationRequest(
        {uuid: dict(each["resources"]) for uuid, each in body["allocations"].items()},
        {suffix: tuple(uuids) for suffix, uuids in body.get("mappings", {}).items()},
    )


def _summary(body: Any) -> ProviderSummary:
    return ProviderSummary(
        {name: ResourceSummary(each["capacity"], each["used"]) for name, each in body["resources"].items()},
        frozenset(body["traits"]),
        body.get("parent_provider_uuid"),
        body.get("root_provider_uuid"),
    )
