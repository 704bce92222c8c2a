"""Traits, and those of a provider."""

from collections.abc import Iterable
from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, check_query, now, read_body
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.schemas import trait as schema
from etcdcompute.placement.graph.errors import UnknownTrait
from etcdcompute.placement.graph.records import Provider
from etcdcompute.placement.graph.store import GraphStore


def list_all(store: GraphStore, request: Request) -> Response:
    """List the traits that match."""
    check_query(request, schema.LIST_QUERY)
    names, prefix = _name_filter(request.last("name"))
    associated = request.last("associated")
    if associated is not None and associated.lower() not in ("true", "false"):
        raise Problem(400, 'The query parameter "associated" only accepts "true" or "false"')
    wanted = None if associated is None else associated.lower() == "true"
    found = store.list_traits(names, prefix, wanted)
    modified = max((each.created_at or now() for each in found), default=now())
    return Response(document={"traits": [each.name for each in found]}, modified=modified)


def _name_filter(value: str | None) -> tuple[list[str] | None, str | None]:
    if value is None:
        return None, None
    operator, colon, operand = value.partition(":")
    if not colon:
        raise Problem(
            400,
            "Badly formatted name parameter. Expected name query string parameter in form: "
            f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{value}"',
        )
    if operator == "in":
        return operand.split(","), None
    return None, operand if operator == "startswith" else None


def get(store: GraphStore, request: Request) -> Response:
    """Say that a trait exists."""
    found = store.get_trait(request.name)
    return Response(204, modified=found.created_at or now())


def ensure(store: GraphStore, request: Request) -> Response:
    """Make sure that a custom trait exists."""
    if not schema.CUSTOM.accepts(request.name):
        raise Problem(
            400,
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"',
        )
    created = store.create_trait(request.name)
    return Response(201 if created else 204, headers={"location": f"/traits/{request.name}"}, modified=now())


def delete(store: GraphStore, request: Request) -> Response:
    """Remove a custom trait."""
    store.delete_trait(request.name)
    return Response(204)


def of_provider(store: GraphStore, request: Request) -> Response:
    """Show a provider's traits."""
    provider = store.get_provider(request.uuid)
    return Response(document=_describe(provider, provider.traits), modified=provider.updated_at)


def replace_of_provider(store: GraphStore, request: Request) -> Response:
    """Replace a provider's traits."""
    data = read_body(request, schema.OF_PROVIDER)
    try:
        provider = store.set_traits(request.uuid, data["traits"], data["resource_provider_generation"])
    except UnknownTrait as error:
        raise Problem(400, f"No such trait {error.names}") from error
    return Response(document=_describe(provider, provider.traits), modified=provider.updated_at)


def delete_of_provider(store: GraphStore, request: Request) -> Response:
    """Take all traits from a provider."""
    store.set_traits(request.uuid, (), None)
    return Response(204)


def _describe(provider: Provider, names: Iterable[str]) -> dict[str, Any]:
    return {"traits": sorted(names), "resource_provider_generation": provider.generation}
