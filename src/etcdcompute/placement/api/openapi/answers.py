"""The documents in the answers of OpenStack's routes, at the latest version."""

from typing import Final

from etcdcompute.placement.api.openapi.parts import COUNT, TEXT
from etcdcompute.placement.api.schemas.forms import GENERATION, NAME, UUID, UUID_KEY, Schema, mapping, record

_GENERATION: Final = {"resource_provider_generation": GENERATION}
_OPTIONAL_UUID: Final[Schema] = {"anyOf": [UUID, {"type": "null"}]}
_LINKS: Final[Schema] = {"type": "array", "items": record({"rel": TEXT, "href": TEXT})}
_AMOUNTS: Final = mapping(NAME, COUNT)
_TRAITS: Final[Schema] = {"type": "array", "items": {"type": "string", "pattern": NAME}}
_WHOLE: Final[Schema] = {"type": "integer"}

VERSIONS: Final = record(
    {
        "versions": {
            "type": "array",
            "minItems": 1,
            "items": record({"id": TEXT, "min_version": TEXT, "max_version": TEXT, "status": TEXT, "links": _LINKS}),
        }
    }
)
HEALTH: Final = record(
    {"status": {"enum": ["ok", "unavailable"]}, "dependencies": {"type": "object", "additionalProperties": TEXT}}
)
PROVIDER: Final = record(
    {
        "uuid": UUID,
        "name": TEXT,
        "generation": GENERATION,
        "links": _LINKS,
        "parent_provider_uuid": _OPTIONAL_UUID,
        "root_provider_uuid": UUID,
    }
)
PROVIDERS: Final = record({"resource_providers": {"type": "array", "items": PROVIDER}})
_INVENTORY: Final[dict[str, Schema]] = {
    "total": _WHOLE,
    "reserved": _WHOLE,
    "min_unit": _WHOLE,
    "max_unit": _WHOLE,
    "step_size": _WHOLE,
    "allocation_ratio": {"type": "number"},
}
INVENTORY: Final = record({**_INVENTORY, **_GENERATION})
INVENTORIES: Final = record({**_GENERATION, "inventories": mapping(NAME, record(_INVENTORY))})
PROVIDER_USAGES: Final = record({**_GENERATION, "usages": _AMOUNTS})
AGGREGATES: Final = record({**_GENERATION, "aggregates": {"type": "array", "items": UUID}})
PROVIDER_TRAITS: Final = record({**_GENERATION, "traits": _TRAITS})
PROVIDER_ALLOCATIONS: Final = record(
    {
        **_GENERATION,
        "allocations": mapping(UUID_KEY, record({"resources": _AMOUNTS, "consumer_generation": GENERATION})),
    }
)
# A consumer that has nothing has no owner either.
CONSUMER: Final = record(
    {"allocations": mapping(UUID_KEY, record({"resources": _AMOUNTS, "generation": GENERATION}))},
    {"project_id": TEXT, "user_id": TEXT, "consumer_generation": GENERATION, "consumer_type": TEXT},
)
CANDIDATES: Final = record(
    {
        "allocation_requests": {
            "type": "array",
            "items": record(
                {
                    "allocations": mapping(UUID_KEY, record({"resources": _AMOUNTS}), at_least=1),
                    "mappings": mapping("^[a-zA-Z0-9_-]{0,64}$", {"type": "array", "items": UUID}, at_least=1),
                }
            ),
        },
        "provider_summaries": mapping(
            UUID_KEY,
            record(
                {
                    "resources": mapping(NAME, record({"capacity": _WHOLE, "used": COUNT})),
                    "traits": _TRAITS,
                    "parent_provider_uuid": _OPTIONAL_UUID,
                    "root_provider_uuid": UUID,
                }
            ),
        ),
    }
)
RESOURCE_CLASS: Final = record({"name": {"type": "string", "pattern": NAME}, "links": _LINKS})
RESOURCE_CLASSES: Final = record({"resource_classes": {"type": "array", "items": RESOURCE_CLASS}})
TRAITS: Final = record({"traits": _TRAITS})
USAGES: Final = record(
    {"usages": mapping("^[A-Z0-9_]+$|^all$|^unknown$", mapping(f"{NAME}|^consumer_count$", COUNT, at_least=1))}
)
