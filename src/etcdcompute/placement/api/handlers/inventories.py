"""Inventories of a provider."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from etcdcompute.placement.api.exchange import Request, Response, read_body
from etcdcompute.placement.api.problems import CONCURRENT_UPDATE, Problem, problem_of
from etcdcompute.placement.api.schemas import inventory as schema
from etcdcompute.placement.graph.errors import (
    BadInventory,
    GenerationConflict,
    InventoryExists,
    InventoryInUse,
    InventoryNotFound,
    UnknownResourceClass,
)
from etcdcompute.placement.graph.records import Inventory, Provider
from etcdcompute.placement.graph.store import GraphStore

_RESERVED_MAY_BE_TOTAL_SINCE = 26


def _read(provider_uuid: str, resource_class: str, data: Mapping[str, Any], version: int) -> Inventory:
    """Return an inventory from a body; BadInventory where nothing of it could ever be claimed."""
    fields = {key: data[key] for key in Inventory.__struct_fields__ if key in data}
    try:
        # One that is whole has been read as a whole number.
        fields["allocation_ratio"] = float(fields.get("allocation_ratio", 1.0))
        inventory = Inventory(**fields)
        capacity = inventory.capacity
    except (OverflowError, ValueError) as error:
        raise Problem(400, f"The allocation ratio of {resource_class} is not a usable number.") from error
    problem = f"Invalid inventory for '{resource_class}' on resource provider '{provider_uuid}'. "
    if version < _RESERVED_MAY_BE_TOTAL_SINCE and capacity <= 0:
        raise BadInventory(f"{problem}The reserved value is greater than or equal to total.")
    if capacity < 0:
        raise BadInventory(f"{problem}The reserved value is greater than total.")
    return inventory


def read_inventories(
    provider_uuid: str, inventories: Mapping[str, Mapping[str, Any]], version: int
) -> dict[str, Inventory]:
    """Return a provider's inventories from a body; BadInventory."""
    return {name: _read(provider_uuid, name, each, version) for name, each in inventories.items()}


@contextmanager
def unknown_first(store: GraphStore, provider_uuid: str) -> Iterator[None]:
    """Say that a provider is not there before saying what else is wrong with a request; asks only where that is so."""
    try:
        yield
    except (Problem, BadInventory):
        store.get_provider(provider_uuid)
        raise


def expect_generation(store: GraphStore, provider_uuid: str, generation: int) -> None:
    """Say that a provider has changed before saying what is wrong with inventories that were made for another one."""
    if store.get_provider(provider_uuid).generation != generation:
        raise GenerationConflict("resource provider generation conflict")


def _describe(inventory: Inventory, generation: int | None = None) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.structs.asdict(inventory)
    if generation is not None:
        document["resource_provider_generation"] = generation
    return document


def _all_of(provider: Provider) -> Response:
    document = {
        "resource_provider_generation": provider.generation,
        "inventories": {name: _describe(each) for name, each in provider.inventories.items()},
    }
    return Response(document=document, modified=provider.updated_at)


def _one_of(provider: Provider, resource_class: str, status: int = 200) -> Response:
    document = _describe(provider.inventories[resource_class], provider.generation)
    return Response(status, document, modified=provider.updated_at)


def list_all(store: GraphStore, request: Request) -> Response:
    """Show all inventories."""
    return _all_of(store.get_provider(request.uuid))


def get(store: GraphStore, request: Request) -> Response:
    """Show one inventory."""
    provider = store.get_provider(request.uuid)
    resource_class = request.path_items["resource_class"]
    if resource_class not in provider.inventories:
        raise Problem(404, f"No inventory of class {resource_class} for {request.uuid}")
    return _one_of(provider, resource_class)


def create(store: GraphStore, request: Request) -> Response:
    """Add one inventory."""
    prefix = f"Unable to create inventory for resource provider {request.uuid}: "
    try:
        with unknown_first(store, request.uuid):
            data = read_body(request, schema.POST)
            resource_class = data["resource_class"]
            inventory = _read(request.uuid, resource_class, data, request.version)
        provider = store.add_inventory(request.uuid, resource_class, inventory)
    except InventoryExists as error:
        raise problem_of(error, "Update conflict: ") from error
    except (BadInventory, UnknownResourceClass) as error:
        raise problem_of(error, prefix) from error
    response = _one_of(provider, resource_class, 201)
    location = f"/resource_providers/{request.uuid}/inventories/{resource_class}"
    return Response(201, response.document, {"location": location}, response.modified)


def replace_all(store: GraphStore, request: Request) -> Response:
    """Replace all inventories."""
    try:
        with unknown_first(store, request.uuid):
            data = read_body(request, schema.PUT_ALL)
            inventories = read_inventories(request.uuid, data["inventories"], request.version)
        provider = store.set_inventories(request.uuid, inventories, data["resource_provider_generation"])
    except UnknownResourceClass as error:
        raise problem_of(
            error, f"Unknown resource class in inventory for resource provider {request.uuid}: "
        ) from error
    except BadInventory as error:
        expect_generation(store, request.uuid, data["resource_provider_generation"])
        raise problem_of(error, f"Unable to update inventory for resource provider {request.uuid}: ") from error
    except InventoryInUse as error:
        raise problem_of(error, "update conflict: ") from error
    return _all_of(provider)


def update(store: GraphStore, request: Request) -> Response:
    """Replace one inventory."""
    resource_class = request.path_items["resource_class"]
    try:
        with unknown_first(store, request.uuid):
            data = read_body(request, schema.PUT_ONE)
            inventory = _read(request.uuid, resource_class, data, request.version)
        provider = store.update_inventory(request.uuid, resource_class, inventory, data["resource_provider_generation"])
    except InventoryNotFound as error:
        prefix = f"No inventory record with resource class for resource provider {request.uuid}: "
        raise problem_of(error, prefix, status=400) from error
    except UnknownResourceClass as error:
        # Here the class is part of the address.
        raise problem_of(error, status=404) from error
    except BadInventory as error:
        expect_generation(store, request.uuid, data["resource_provider_generation"])
        raise problem_of(error, f"Unable to update inventory for resource provider {request.uuid}: ") from error
    return _one_of(provider, resource_class)


def delete(store: GraphStore, request: Request) -> Response:
    """Remove one inventory."""
    resource_class = request.path_items["resource_class"]
    try:
        store.delete_inventory(request.uuid, resource_class)
    except InventoryInUse as error:
        detail = f"Unable to delete inventory of class {resource_class}: {error}"
        # OpenStack's code here, though nothing was concurrent.
        raise Problem(409, detail, code=CONCURRENT_UPDATE) from error
    except InventoryNotFound as error:
        raise problem_of(error, f"No inventory of class {resource_class} found for delete: ") from error
    return Response(204)


def delete_all(store: GraphStore, request: Request) -> Response:
    """Remove all inventories."""
    store.set_inventories(request.uuid, {}, None)
    return Response(204)
