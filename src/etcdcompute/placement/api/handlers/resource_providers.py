"""Resource providers."""

import uuid
from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, check_query, normal_uuid, now, read_body
from etcdcompute.placement.api.handlers.inventories import unknown_first
from etcdcompute.placement.api.problems import Problem, problem_of
from etcdcompute.placement.api.query import parse_member_of, parse_required, parse_resources
from etcdcompute.placement.api.schemas import resource_provider as schema
from etcdcompute.placement.graph.errors import (
    BadProviderTree,
    ProviderNotFound,
    UnknownResourceClass,
    UnknownTrait,
)
from etcdcompute.placement.graph.records import Provider, ProviderFilter
from etcdcompute.placement.graph.store import GraphStore

_LINKS = ((0, "inventories"), (0, "usages"), (1, "aggregates"), (6, "traits"), (11, "allocations"))


def describe(provider: Provider, version: int) -> dict[str, Any]:
    """Return a provider as a client of that version knows it."""
    href = f"/resource_providers/{provider.uuid}"
    document: dict[str, Any] = {
        "uuid": provider.uuid,
        "name": provider.name,
        "generation": provider.generation,
        "links": [
            {"rel": "self", "href": href},
            *({"rel": rel, "href": f"{href}/{rel}"} for since, rel in _LINKS if version >= since),
        ],
    }
    if version >= 14:
        document["parent_provider_uuid"] = provider.parent_uuid
        document["root_provider_uuid"] = provider.root_uuid
    return document


def list_all(store: GraphStore, request: Request) -> Response:
    """List the providers that match."""
    check_query(request, schema.list_query(request.version))
    member_of, forbidden_aggregates = parse_member_of(request)
    required, forbidden = parse_required(request, "required")
    resources = request.last("resources")
    uuid_wanted, in_tree = request.last("uuid"), request.last("in_tree")
    wanted = ProviderFilter(
        # An empty one has always been the same as none.
        name=request.last("name") or None,
        uuid=normal_uuid(uuid_wanted) if uuid_wanted is not None else None,
        in_tree=normal_uuid(in_tree) if in_tree is not None else None,
        resources=parse_resources(resources) if resources is not None else None,
        required_traits=required,
        forbidden_traits=forbidden,
        member_of=member_of,
        forbidden_aggregates=forbidden_aggregates,
    )
    try:
        providers = store.list_providers(wanted)
    except UnknownResourceClass as error:
        raise problem_of(error, "Invalid resource class in resources parameter: ") from error
    except UnknownTrait as error:
        raise problem_of(error, 'Invalid trait(s) in "required" parameter: ') from error
    document = {"resource_providers": [describe(provider, request.version) for provider in providers]}
    modified = max((provider.updated_at for provider in providers), default=now())
    return Response(document=document, modified=modified)


def create(store: GraphStore, request: Request) -> Response:
    """Create a provider."""
    data = read_body(request, schema.post(request.version))
    provider_uuid = normal_uuid(data["uuid"]) if data.get("uuid") else str(uuid.uuid4())
    name = data["name"]
    prefix = f'Unable to create resource provider "{name}", {provider_uuid}: '
    if not name:
        raise Problem(400, f"{prefix}Object action create failed because: name is required")
    parent = data.get("parent_provider_uuid")
    try:
        provider = store.create_provider(provider_uuid, name, normal_uuid(parent) if parent else None)
    except BadProviderTree as error:
        raise problem_of(error, prefix) from error
    headers = {"location": f"/resource_providers/{provider.uuid}"}
    if request.version < 20:
        return Response(201, headers=headers)
    return Response(200, describe(provider, request.version), headers, modified=provider.updated_at)


def get(store: GraphStore, request: Request) -> Response:
    """Show a provider."""
    provider = store.get_provider(request.uuid)
    return Response(document=describe(provider, request.version), modified=provider.updated_at)


def update(store: GraphStore, request: Request) -> Response:
    """Rename or move a provider."""
    with unknown_first(store, request.uuid):
        data = read_body(request, schema.put(request.version))
    parent = data.get("parent_provider_uuid")
    try:
        provider = store.update_provider(
            request.uuid,
            data["name"],
            normal_uuid(parent) if parent else None,
            move="parent_provider_uuid" in data,
            reparent=request.version >= 37,
        )
    except BadProviderTree as error:
        raise problem_of(error, f"Unable to save resource provider {request.uuid}: ") from error
    return Response(document=describe(provider, request.version), modified=provider.updated_at)


def delete(store: GraphStore, request: Request) -> Response:
    """Remove a provider."""
    try:
        store.delete_provider(request.uuid)
    except ProviderNotFound as error:
        raise Problem(404, f"No resource provider with uuid {request.uuid} found for delete") from error
    return Response(204)
