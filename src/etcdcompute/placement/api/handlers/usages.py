"""Usages of a provider and of a project."""

from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, check_query, now
from etcdcompute.placement.api.schemas import usage as schema
from etcdcompute.placement.graph.store import GraphStore

_TYPES_SINCE = 38


def of_provider(store: GraphStore, request: Request) -> Response:
    """Show what is claimed from a provider."""
    provider = store.get_provider(request.uuid)
    document = {"resource_provider_generation": provider.generation, "usages": dict(provider.used)}
    return Response(document=document, modified=now())


def of_project(store: GraphStore, request: Request) -> Response:
    """Show what a project, or one user of it, has claimed."""
    check_query(request, schema.query(request.version))
    typed = request.version >= _TYPES_SINCE
    found = store.list_usages(
        request.last("project_id") or "",
        request.last("user_id"),
        request.last("consumer_type") if typed else "all",
    )
    usages: dict[str, Any] = {}
    for each in found:
        if typed:
            usages[each.consumer_type] = {**each.resources, "consumer_count": each.consumer_count}
        else:
            usages = dict(each.resources)
    return Response(document={"usages": usages}, modified=now())
