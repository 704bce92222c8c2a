"""Resource classes."""

from typing import Any

from etcdcompute.placement.api.exchange import Request, Response, check, now, read_body
from etcdcompute.placement.api.problems import Problem, problem_of
from etcdcompute.placement.api.schemas import resource_class as schema
from etcdcompute.placement.graph.errors import ResourceClassInUse, StandardName
from etcdcompute.placement.graph.store import GraphStore


def _href(name: str) -> str:
    return f"/resource_classes/{name}"


def _describe(name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": _href(name)}]}


def list_all(store: GraphStore, request: Request) -> Response:  # noqa: ARG001
    """List all classes."""
    classes = store.list_resource_classes()
    document = {"resource_classes": [_describe(each.name) for each in classes]}
    return Response(document=document, modified=max((each.created_at or now() for each in classes), default=now()))


def create(store: GraphStore, request: Request) -> Response:
    """Create a custom class."""
    name = read_body(request, schema.CUSTOM)["name"]
    if not store.create_resource_class(name):
        raise Problem(409, f"Conflicting resource class already exists: {name}")
    return Response(201, headers={"location": _href(name)})


def get(store: GraphStore, request: Request) -> Response:
    """Show a class."""
    found = store.get_resource_class(request.name)
    return Response(document=_describe(found.name), modified=found.created_at or now())


def ensure(store: GraphStore, request: Request) -> Response:
    """Make sure that a custom class exists."""
    check({"name": request.name}, schema.CUSTOM, "JSON does not validate")
    created = store.create_resource_class(request.name)
    return Response(201 if created else 204, headers={"location": _href(request.name)})


def rename(store: GraphStore, request: Request) -> Response:
    """Give a custom class another name."""
    new_name = read_body(request, schema.CUSTOM)["name"]
    store.rename_resource_class(request.name, new_name)
    return Response(document=_describe(new_name))


def delete(store: GraphStore, request: Request) -> Response:
    """Remove a custom class."""
    try:
        store.delete_resource_class(request.name)
    except (StandardName, ResourceClassInUse) as error:
        raise problem_of(error, "Error in delete resource class: ") from error
    return Response(204)
