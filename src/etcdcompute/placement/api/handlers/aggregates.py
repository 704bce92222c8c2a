"""Aggregates of a provider."""

from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, normal_uuid, now, read_body
from etcdcompute.placement.api.handlers.inventories import unknown_first
from etcdcompute.placement.api.schemas import aggregate as schema
from etcdcompute.placement.graph.records import Provider
from etcdcompute.placement.graph.store import GraphStore

_GENERATION_SINCE = 19


def get(store: GraphStore, request: Request) -> Response:
    """Show a provider's aggregates."""
    provider = store.get_provider(request.uuid)
    return _show(provider, sorted(provider.aggregates), request.version)


def replace(store: GraphStore, request: Request) -> Response:
    """Replace a provider's aggregates."""
    with unknown_first(store, request.uuid):
        data = read_body(request, schema.put(request.version))
    guarded = request.version >= _GENERATION_SINCE
    uuids = [normal_uuid(each) for each in (data["aggregates"] if guarded else data)]
    generation = data["resource_provider_generation"] if guarded else None
    return _show(store.set_aggregates(request.uuid, uuids, generation), uuids, request.version)


def _show(provider: Provider, uuids: list[str], version: int) -> Response:
    document: dict[str, Any] = {"aggregates": uuids}
    if version >= _GENERATION_SINCE:
        document["resource_provider_generation"] = provider.generation
    return Response(document=document, modified=now())
