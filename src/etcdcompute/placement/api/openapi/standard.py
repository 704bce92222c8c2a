"""OpenStack's routes, at the latest version."""

from collections.abc import Mapping
from typing import Final

from etcdcompute.placement.api.openapi import answers
from etcdcompute.placement.api.openapi.parts import TEXT, Answer, Operation, document
from etcdcompute.placement.api.schemas import (
    aggregate,
    allocation,
    allocation_candidate,
    inventory,
    reshaper,
    resource_class,
    resource_provider,
    trait,
    usage,
)
from etcdcompute.placement.api.schemas.forms import CUSTOM_NAME, Schema
from etcdcompute.placement.api.version import LATEST

_DATED: Final = ("last-modified", "cache-control")
_DONE: Final = Answer()
_PROVIDER: Final = "/resource_providers/{uuid}"
_CUSTOM: Final[dict[str, Schema]] = {"name": {"type": "string", "pattern": CUSTOM_NAME, "maxLength": 255}}


def _shows(schema: Schema, *refusals: int) -> Operation:
    return Operation({200: document(schema, *_DATED)}, refusals=refusals)


STANDARD: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/": {"GET": Operation({200: document(answers.VERSIONS, *_DATED)})},
    "/healthcheck": {
        "GET": Operation(
            {200: document(answers.HEALTH, "cache-control"), 503: document(answers.HEALTH, "cache-control")}
        )
    },
    "/resource_classes": {
        "GET": _shows(answers.RESOURCE_CLASSES),
        "POST": Operation({201: Answer(headers=("location",))}, body=resource_class.CUSTOM, refusals=(409,)),
    },
    "/resource_classes/{name}": {
        "GET": _shows(answers.RESOURCE_CLASS, 404),
        "PUT": Operation(
            {201: Answer(headers=("location",)), 204: Answer(headers=("location",))}, refusals=(409,), items=_CUSTOM
        ),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    "/resource_providers": {
        "GET": Operation({200: document(answers.PROVIDERS, *_DATED)}, query=resource_provider.list_query(LATEST)),
        "POST": Operation(
            {200: document(answers.PROVIDER, "location", *_DATED)},
            body=resource_provider.post(LATEST),
            refusals=(409,),
        ),
    },
    _PROVIDER: {
        "GET": _shows(answers.PROVIDER, 404),
        "PUT": Operation(
            {200: document(answers.PROVIDER, *_DATED)}, body=resource_provider.put(LATEST), refusals=(404, 409)
        ),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    f"{_PROVIDER}/inventories": {
        "GET": _shows(answers.INVENTORIES, 404),
        "POST": Operation(
            {201: document(answers.INVENTORY, "location", *_DATED)}, body=inventory.POST, refusals=(404, 409)
        ),
        "PUT": Operation({200: document(answers.INVENTORIES, *_DATED)}, body=inventory.PUT_ALL, refusals=(404, 409)),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    f"{_PROVIDER}/inventories/{{resource_class}}": {
        "GET": _shows(answers.INVENTORY, 404),
        "PUT": Operation({200: document(answers.INVENTORY, *_DATED)}, body=inventory.PUT_ONE, refusals=(404, 409)),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    f"{_PROVIDER}/usages": {"GET": _shows(answers.PROVIDER_USAGES, 404)},
    f"{_PROVIDER}/aggregates": {
        "GET": _shows(answers.AGGREGATES, 404),
        "PUT": Operation({200: document(answers.AGGREGATES, *_DATED)}, body=aggregate.put(LATEST), refusals=(404, 409)),
    },
    f"{_PROVIDER}/allocations": {"GET": _shows(answers.PROVIDER_ALLOCATIONS, 404)},
    f"{_PROVIDER}/traits": {
        "GET": _shows(answers.PROVIDER_TRAITS, 404),
        "PUT": Operation(
            {200: document(answers.PROVIDER_TRAITS, *_DATED)}, body=trait.OF_PROVIDER, refusals=(404, 409)
        ),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    "/allocations": {"POST": Operation({204: _DONE}, body=allocation.post(LATEST), refusals=(409,))},
    "/allocations/{consumer_uuid}": {
        # Of whatever there is not, it says that it has nothing.
        "GET": Operation({200: document(answers.CONSUMER, *_DATED)}, items={"consumer_uuid": TEXT}),
        "PUT": Operation({204: _DONE}, body=allocation.put(LATEST), refusals=(409,)),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    "/allocation_candidates": {
        "GET": Operation({200: document(answers.CANDIDATES, *_DATED)}, query=allocation_candidate.query(LATEST))
    },
    "/reshaper": {"POST": Operation({204: _DONE}, body=reshaper.post(LATEST), refusals=(409,))},
    "/traits": {"GET": Operation({200: document(answers.TRAITS, *_DATED)}, query=trait.LIST_QUERY)},
    "/traits/{name}": {
        "GET": Operation({204: Answer(headers=_DATED)}, refusals=(404,)),
        "PUT": Operation(
            {201: Answer(headers=("location", *_DATED)), 204: Answer(headers=("location", *_DATED))}, items=_CUSTOM
        ),
        "DELETE": Operation({204: _DONE}, refusals=(404, 409)),
    },
    "/usages": {"GET": Operation({200: document(answers.USAGES, *_DATED)}, query=usage.query(LATEST))},
}
