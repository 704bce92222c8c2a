"""Reshaping: inventories and allocations that change together."""

from collections.abc import Mapping
from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, read_body
from etcdcompute.placement.api.handlers.allocations import read_claims
from etcdcompute.placement.api.handlers.inventories import expect_generation, read_inventories
from etcdcompute.placement.api.problems import RESOURCE_PROVIDER_NOT_FOUND, Problem, problem_of
from etcdcompute.placement.api.schemas import reshaper as schema
from etcdcompute.placement.graph.errors import (
    BadInventory,
    CannotAllocate,
    InventoryInUse,
    ProviderNotFound,
    UnknownResourceClass,
)
from etcdcompute.placement.graph.records import NewInventories
from etcdcompute.placement.graph.store import GraphStore


def reshape(store: GraphStore, request: Request) -> Response:
    """Replace inventories of providers and allocations of consumers, all or none."""
    data = read_body(request, schema.post(request.version))
    try:
        inventories = _read(store, data["inventories"], request.version)
        store.reshape(inventories, read_claims(data["allocations"], request.version))
    except ProviderNotFound as error:
        detail = f"Resource provider in inventories not found: {error}"
        raise Problem(400, detail, code=RESOURCE_PROVIDER_NOT_FOUND) from error
    except UnknownResourceClass as error:
        raise problem_of(error, "malformed reshaper data: ") from error
    except InventoryInUse as error:
        raise problem_of(error, "update conflict: ") from error
    except CannotAllocate as error:
        raise problem_of(error, "Unable to allocate inventory: ") from error
    return Response(204)


def _read(store: GraphStore, data: Mapping[str, Mapping[str, Any]], version: int) -> dict[str, NewInventories]:
    """Return inventories by provider; BadInventory, where nothing is wrong with the providers before."""
    try:
        return {
            uuid: NewInventories(
                each["resource_provider_generation"], read_inventories(uuid, each["inventories"], version)
            )
            for uuid, each in data.items()
        }
    except BadInventory:
        for uuid, each in data.items():
            expect_generation(store, uuid, each["resource_provider_generation"])
            read_inventories(uuid, each["inventories"], version)
        raise
