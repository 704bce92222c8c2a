"""All routes of the API, in one table: path, methods, and since which version each is there."""

from collections.abc import Mapping
from typing import Final

from etcdcompute.placement.api.handlers import (
    aggregates,
    allocation_candidates,
    allocations,
    graph_capacity,
    graph_events,
    graph_explain,
    graph_export,
    graph_load,
    graph_openapi,
    graph_query,
    graph_trees,
    inventories,
    reshaper,
    resource_classes,
    resource_providers,
    root,
    traits,
    usages,
)
from etcdcompute.placement.api.openapi.document import build
from etcdcompute.placement.api.routing import Action, Handler, Methods
from etcdcompute.placement.api.streams import StreamAction

OPEN_PATHS: Final = frozenset({"", "/", "/healthcheck", "/graph/openapi.json"})
_PROVIDER: Final = "/resource_providers/{uuid}"

__all__ = ["OPEN_PATHS", "ROUTES", "Action"]


# The rules are those of OpenStack's policy, less the prefix `placement:`. A route without one is for administrators and
# services.


def _reads(handler: Handler, rule: str = "", since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since, gives_json=True, rule=_named(rule)),)


def _writes(handler: Handler, rule: str = "", since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since, takes_json=True, rule=_named(rule)),)


def _does(handler: Handler, rule: str = "", since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since, rule=_named(rule)),)


def _named(rule: str) -> str:
    return f"placement:{rule}" if rule else ""


_UPDATE_CLASS: Final = "placement:resource_classes:update"
_DELETE_INVENTORY: Final = "placement:resource_providers:inventories:delete"

ROUTES: Final[Mapping[str, Methods]] = {
    "/": {"GET": _does(root.home)},
    "": {"GET": _does(root.home)},
    "/healthcheck": {"GET": _does(root.healthcheck)},
    "/resource_classes": {
        "GET": _reads(resource_classes.list_all, "resource_classes:list", since=2),
        "POST": _writes(resource_classes.create, "resource_classes:create", since=2),
    },
    "/resource_classes/{name}": {
        "GET": _reads(resource_classes.get, "resource_classes:show", since=2),
        "PUT": (
            Action(resource_classes.rename, since=2, until=6, takes_json=True, rule=_UPDATE_CLASS),
            Action(resource_classes.ensure, since=7, rule=_UPDATE_CLASS),
        ),
        "DELETE": _does(resource_classes.delete, "resource_classes:delete", since=2),
    },
    "/resource_providers": {
        "GET": _reads(resource_providers.list_all, "resource_providers:list"),
        "POST": _writes(resource_providers.create, "resource_providers:create"),
    },
    _PROVIDER: {
        "GET": _reads(resource_providers.get, "resource_providers:show"),
        "DELETE": _does(resource_providers.delete, "resource_providers:delete"),
        "PUT": _writes(resource_providers.update, "resource_providers:update"),
    },
    f"{_PROVIDER}/inventories": {
        "GET": _reads(inventories.list_all, "resource_providers:inventories:list"),
        "POST": _writes(inventories.create, "resource_providers:inventories:create"),
        "PUT": _writes(inventories.replace_all, "resource_providers:inventories:update"),
        "DELETE": (Action(inventories.delete_all, since=5, otherwise=405, rule=_DELETE_INVENTORY),),
    },
    f"{_PROVIDER}/inventories/{{resource_class}}": {
        "GET": _reads(inventories.get, "resource_providers:inventories:show"),
        "PUT": _writes(inventories.update, "resource_providers:inventories:update"),
        "DELETE": (Action(inventories.delete, rule=_DELETE_INVENTORY),),
    },
    f"{_PROVIDER}/usages": {"GET": _reads(usages.of_provider, "resource_providers:usages")},
    f"{_PROVIDER}/aggregates": {
        "GET": _reads(aggregates.get, "resource_providers:aggregates:list", since=1),
        "PUT": _writes(aggregates.replace, "resource_providers:aggregates:update", since=1),
    },
    f"{_PROVIDER}/allocations": {"GET": _reads(allocations.of_provider, "resource_providers:allocations:list")},
    f"{_PROVIDER}/traits": {
        "GET": _reads(traits.of_provider, "resource_providers:traits:list", since=6),
        "PUT": _writes(traits.replace_of_provider, "resource_providers:traits:update", since=6),
        "DELETE": _does(traits.delete_of_provider, "resource_providers:traits:delete", since=6),
    },
    "/allocations": {"POST": _writes(allocations.replace_many, "allocations:manage", since=13)},
    "/allocations/{consumer_uuid}": {
        "GET": _reads(allocations.of_consumer, "allocations:list"),
        "PUT": _writes(allocations.replace, "allocations:update"),
        "DELETE": _does(allocations.delete, "allocations:delete"),
    },
    "/allocation_candidates": {"GET": _reads(allocation_candidates.find, "allocation_candidates:list", since=10)},
    "/reshaper": {"POST": _writes(reshaper.reshape, "reshaper:reshape", since=30)},
    "/traits": {"GET": _reads(traits.list_all, "traits:list", since=6)},
    "/traits/{name}": {
        "GET": _does(traits.get, "traits:show", since=6),
        "PUT": _does(traits.ensure, "traits:update", since=6),
        "DELETE": _does(traits.delete, "traits:delete", since=6),
    },
    "/usages": {"GET": _reads(usages.of_project, "usages", since=9)},
    # Ours, without versions and for administrators and services.
    "/graph/trees": {
        "POST": (StreamAction(graph_load.load, takes=graph_load.MEDIA_TYPE, gives=graph_load.MEDIA_TYPE),)
    },
    "/graph/trees/{root}": {
        "GET": _reads(graph_trees.get),
        "PUT": _writes(graph_trees.declare),
        "DELETE": _does(graph_trees.delete),
    },
    "/graph/events": {"GET": (StreamAction(graph_events.follow, gives="text/event-stream"),)},
    "/graph/export": {"GET": (Action(graph_export.export, lengthy=True),)},
    "/graph/explain": {"GET": (Action(graph_explain.explain, lengthy=True),)},
    "/graph/capacity": {"GET": (Action(graph_capacity.count, gives_json=True, lengthy=True),)},
    "/graph/query": {"POST": (Action(graph_query.ask, takes_json=True, elsewhere=True),)},
    "/graph/openapi.json": {"GET": _reads(graph_openapi.publishing(lambda: build(ROUTES, OPEN_PATHS)))},
}
