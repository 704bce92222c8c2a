"""Allocations: of a consumer, of a provider, of many consumers at once."""

from collections.abc import Mapping
from typing import Any, Final

from etcdcompute.placement.api.exchange import Request, Response, is_uuid, now, read_body, tidy_uuid
from etcdcompute.placement.api.problems import Problem, problem_of
from etcdcompute.placement.api.schemas import allocation as schema
from etcdcompute.placement.graph.errors import CannotAllocate, GenerationConflict, UnknownResourceClass
from etcdcompute.placement.graph.records import ANY, Claim
from etcdcompute.placement.graph.store import GraphStore

_AS_MAPPING_SINCE = 12
_GENERATION_SINCE = 28
_TYPE_SINCE = 38
# Who owns allocations of clients that know neither projects nor users: OpenStack's placeholder.
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


def of_consumer(store: GraphStore, request: Request) -> Response:
    """Show what a consumer has."""
    consumer, generations = store.get_consumer(_consumer_uuid(request))
    if consumer is None:
        return Response(document={"allocations": {}}, modified=now())
    document: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": dict(resources), "generation": generations.get(uuid, 0)}
            for uuid, resources in consumer.allocations.items()
        }
    }
    if request.version >= _AS_MAPPING_SINCE:
        document["project_id"] = consumer.project_id
        document["user_id"] = consumer.user_id
    if request.version >= _GENERATION_SINCE:
        document["consumer_generation"] = consumer.generation
    if request.version >= _TYPE_SINCE:
        document["consumer_type"] = consumer.consumer_type or "unknown"
    return Response(document=document, modified=consumer.updated_at)


def of_provider(store: GraphStore, request: Request) -> Response:
    """Show who has what of a provider."""
    provider, consumers = store.list_provider_consumers(request.uuid)
    allocations: dict[str, Any] = {}
    for consumer in consumers:
        shown: dict[str, Any] = {"resources": dict(consumer.allocations[provider.uuid])}
        if request.version >= _GENERATION_SINCE:
            shown["consumer_generation"] = consumer.generation
        allocations[consumer.uuid] = shown
    document = {"allocations": allocations, "resource_provider_generation": provider.generation}
    modified = max((consumer.updated_at for consumer in consumers), default=now())
    return Response(document=document, modified=modified)


def replace(store: GraphStore, request: Request) -> Response:
    """Give a consumer exactly these allocations."""
    consumer_uuid = _consumer_uuid(request)
    if not is_uuid(consumer_uuid):
        raise Problem(400, f"Malformed consumer_uuid: {consumer_uuid}")
    data = read_body(request, schema.put(request.version))
    allocations = data["allocations"]
    if request.version < _AS_MAPPING_SINCE:
        allocations = {each["resource_provider"]["uuid"]: each for each in allocations}
    claim = _claim(consumer_uuid, allocations, data, request.version)
    _carry_out(store, [claim], f"Unable to allocate inventory for consumer {consumer_uuid}: ")
    return Response(204)


def replace_many(store: GraphStore, request: Request) -> Response:
    """Give each of many consumers exactly these allocations, all or none."""
    data = read_body(request, schema.post(request.version))
    _carry_out(store, read_claims(data, request.version), "Unable to allocate inventory ")
    return Response(204)


def read_claims(data: Mapping[str, Mapping[str, Any]], version: int) -> list[Claim]:
    """Return the claims of many consumers from a body, by uuid."""
    claims = [_claim(uuid, each["allocations"], each, version) for uuid, each in data.items()]
    if len({claim.consumer_uuid for claim in claims}) < len(claims):
        raise Problem(400, "The same consumer is named more than once.")
    return claims


def delete(store: GraphStore, request: Request) -> Response:
    """End a consumer's allocations."""
    store.release(_consumer_uuid(request))
    return Response(204)


def _consumer_uuid(request: Request) -> str:
    return tidy_uuid(request.path_items["consumer_uuid"])


def _claim(
    consumer_uuid: str, allocations: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any], version: int
) -> Claim:
    return Claim(
        consumer_uuid=tidy_uuid(consumer_uuid),
        allocations={uuid: each["resources"] for uuid, each in allocations.items()},
        project_id=data.get("project_id", _NOBODY),
        user_id=data.get("user_id", _NOBODY),
        consumer_type=data.get("consumer_type"),
        generation=data["consumer_generation"] if version >= _GENERATION_SINCE else ANY,
    )


def _carry_out(store: GraphStore, claims: list[Claim], prefix: str) -> None:
    try:
        store.claim(claims)
    except UnknownResourceClass as error:
        raise problem_of(error, prefix) from error
    except CannotAllocate as error:
        raise problem_of(error, "Unable to allocate inventory: ") from error
    except GenerationConflict as error:
        raise problem_of(error, "Inventory and/or allocations changed while attempting to allocate: ") from error
