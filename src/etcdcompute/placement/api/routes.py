"""All routes of the API, in one table: path, methods, and since which version each is there."""

from collections.abc import Mapping
from typing import Final

from etcdcompute.placement.api.handlers import (
    aggregates,
    allocation_candidates,
    allocations,
    inventories,
    resource_classes,
    resource_providers,
    root,
    traits,
    usages,
)
from etcdcompute.placement.api.routing import Action, Handler, Methods

OPEN_PATHS: Final = frozenset({"", "/", "/healthcheck"})
_PROVIDER: Final = "/resource_providers/{uuid}"

__all__ = ["OPEN_PATHS", "ROUTES", "Action"]


def _reads(handler: Handler, since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since, gives_json=True),)


def _writes(handler: Handler, since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since, takes_json=True),)


def _does(handler: Handler, since: int = 0) -> tuple[Action, ...]:
    return (Action(handler, since=since),)


ROUTES: Final[Mapping[str, Methods]] = {
    "/": {"GET": _does(root.home)},
    "": {"GET": _does(root.home)},
    "/healthcheck": {"GET": _does(root.healthcheck)},
    "/resource_classes": {
        "GET": _reads(resource_classes.list_all, since=2),
        "POST": _writes(resource_classes.create, since=2),
    },
    "/resource_classes/{name}": {
        "GET": _reads(resource_classes.get, since=2),
        "PUT": (
            Action(resource_classes.rename, since=2, until=6, takes_json=True),
            Action(resource_classes.ensure, since=7),
        ),
        "DELETE": _does(resource_classes.delete, since=2),
    },
    "/resource_providers": {
        "GET": _reads(resource_providers.list_all),
        "POST": _writes(resource_providers.create),
    },
    _PROVIDER: {
        "GET": _reads(resource_providers.get),
        "DELETE": _does(resource_providers.delete),
        "PUT": _writes(resource_providers.update),
    },
    f"{_PROVIDER}/inventories": {
        "GET": _reads(inventories.list_all),
        "POST": _writes(inventories.create),
        "PUT": _writes(inventories.replace_all),
        "DELETE": (Action(inventories.delete_all, since=5, otherwise=405),),
    },
    f"{_PROVIDER}/inventories/{{resource_class}}": {
        "GET": _reads(inventories.get),
        "PUT": _writes(inventories.update),
        "DELETE": _does(inventories.delete),
    },
    f"{_PROVIDER}/usages": {"GET": _reads(usages.of_provider)},
    f"{_PROVIDER}/aggregates": {
        "GET": _reads(aggregates.get, since=1),
        "PUT": _writes(aggregates.replace, since=1),
    },
    f"{_PROVIDER}/allocations": {"GET": _reads(allocations.of_provider)},
    f"{_PROVIDER}/traits": {
        "GET": _reads(traits.of_provider, since=6),
        "PUT": _writes(traits.replace_of_provider, since=6),
        "DELETE": _does(traits.delete_of_provider, since=6),
    },
    "/allocations": {"POST": _writes(allocations.replace_many, since=13)},
    "/allocations/{consumer_uuid}": {
        "GET": _reads(allocations.of_consumer),
        "PUT": _writes(allocations.replace),
        "DELETE": _does(allocations.delete),
    },
    "/allocation_candidates": {"GET": _reads(allocation_candidates.find, since=10)},
    "/traits": {"GET": _reads(traits.list_all, since=6)},
    "/traits/{name}": {
        "GET": _does(traits.get, since=6),
        "PUT": _does(traits.ensure, since=6),
        "DELETE": _does(traits.delete, since=6),
    },
    "/usages": {"GET": _reads(usages.of_project, since=9)},
}
