"""The document, narrowed to what a small deployment holds: requests made from it get past the first look-up."""

from collections.abc import Mapping
from typing import Any, Final

from etcdcompute.placement.api.schemas.forms import CUSTOM_NAME, NAME, UUID_KEY

ROOTS: Final = tuple(f"11111111-0000-4000-8000-00000000000{number}" for number in range(4))
CHILDREN: Final = tuple(f"22222222-0000-4000-8000-00000000000{number}" for number in range(2))
CONSUMERS: Final = tuple(f"33333333-0000-4000-8000-00000000000{number}" for number in range(3))
MISSING: Final = "99999999-0000-4000-8000-000000000000"
UUIDS: Final = (*ROOTS, *CHILDREN, MISSING)
CLASSES: Final = ("VCPU", "DISK_GB", "CUSTOM_SLOT", "CUSTOM_NOWHERE")
TRAITS: Final = ("HW_CPU_X86_VMX", "CUSTOM_FAST", "CUSTOM_NOWHERE")

_BODY: Final = "#/components/schemas/ProviderBody"
_NARROWED_BODY: Final = "#/components/schemas/NarrowedBody"
_RESOURCES: Final = ["VCPU:1", "VCPU:2,DISK_GB:10", "CUSTOM_SLOT:1", "DISK_GB:99999", "CUSTOM_NOWHERE:1", "VCPU:0"]
_REQUIRED: Final = ["CUSTOM_FAST", "!CUSTOM_FAST", "in:CUSTOM_FAST,HW_CPU_X86_VMX", "CUSTOM_NOWHERE"]
_MEMBERS: Final = [CONSUMERS[0], f"!{CONSUMERS[0]}", f"in:{CONSUMERS[0]},{CONSUMERS[1]}", MISSING]
_QUERIES: Final[Mapping[str, list[str]]] = {
    "resources": _RESOURCES,
    "required": _REQUIRED,
    "member_of": _MEMBERS,
    "in_tree": [*ROOTS[:2], CHILDREN[0], MISSING],
    "root_required": ["HW_CPU_X86_VMX", "!CUSTOM_FAST"],
    "same_subtree": ["_A,_B"],
    "uuid": list(UUIDS),
    "limit": ["1", "1000"],
    "name": ["host0", "startswith:CUSTOM_", "in:CUSTOM_FAST,HW_CPU_X86_VMX"],
    "associated": ["true", "false"],
    "project_id": ["project"],
    "user_id": ["user"],
    "consumer_type": ["INSTANCE", "all", "unknown"],
}
_ITEMS: Final[Mapping[str, list[str]]] = {
    "uuid": list(UUIDS),
    "root": list(UUIDS),
    "consumer_uuid": [*CONSUMERS, MISSING],
    "name": [*CLASSES, *TRAITS],
    "resource_class": list(CLASSES),
}
_GROUPS: Final = {
    "type": "object",
    "properties": {
        "resources_A": {"enum": _RESOURCES},
        "resources_B": {"enum": _RESOURCES},
        "required_A": {"enum": _REQUIRED},
        "member_of_B": {"enum": _MEMBERS},
        "in_tree_B": {"enum": _QUERIES["in_tree"]},
    },
    "additionalProperties": False,
}


def narrow(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with ids and names that exist, for requests; answers are described as before."""
    schemas = dict(document["components"]["schemas"])
    narrowed: dict[str, Any] = {**document, "paths": {}, "components": {**document["components"], "schemas": schemas}}
    for path, methods in document["paths"].items():
        narrowed["paths"][path] = {
            method: {
                **operation,
                "parameters": [_narrow_parameter(each) for each in operation["parameters"]],
                **({"requestBody": _narrow_schema(operation["requestBody"])} if "requestBody" in operation else {}),
            }
            for method, operation in methods.items()
        }
    schemas["NarrowedBody"] = _narrow_schema(schemas["ProviderBody"])
    lines = {"type": "array", "items": {"$ref": _NARROWED_BODY}, "maxItems": 3}
    narrowed["paths"]["/graph/trees"]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/x-ndjson": {"schema": lines}},
    }
    return narrowed


def _narrow_parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    name, place = parameter["name"], parameter["in"]
    schema = parameter["schema"]
    if name == "groups":
        schema = _GROUPS
    elif place == "query" and name in _QUERIES and "enum" not in schema:
        schema = {"enum": _QUERIES[name]}
    elif place == "path":
        custom = schema.get("pattern") == CUSTOM_NAME
        schema = {"enum": [each for each in _ITEMS[name] if not custom or each.startswith("CUSTOM_")]}
    return {key: value for key, value in {**parameter, "schema": schema}.items() if key != "example"}


def _narrow_schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_narrow_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") == _BODY:
        return {"$ref": _NARROWED_BODY}
    if schema.get("format") == "uuid":
        return {"enum": list(UUIDS)}
    patterns = schema.get("patternProperties", {})
    if UUID_KEY in patterns or NAME in patterns:
        keys, inner = (UUIDS, patterns[UUID_KEY]) if UUID_KEY in patterns else (CLASSES, patterns[NAME])
        inner = _narrow_schema(inner)
        return {
            **{key: value for key, value in schema.items() if key != "patternProperties"},
            "properties": dict.fromkeys(keys, inner),
            "additionalProperties": False,
        }
    if schema.get("type") == "integer" and "maximum" in schema:
        return {**schema, "maximum": max(20, schema.get("minimum", 0))}
    if schema.get("type") == "integer" and "minimum" not in schema:
        # Generations.
        return {**schema, "minimum": 0, "maximum": 5}
    return {
        key: {"enum": list(TRAITS)} if key == "items" and _is_trait(value) else _narrow_schema(value)
        for key, value in schema.items()
    }


def _is_trait(schema: Any) -> bool:
    return isinstance(schema, dict) and schema == {"type": "string", "minLength": 1, "maxLength": 255}
