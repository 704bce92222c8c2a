"""The routes below /graph; the documents in their answers are described by the types that they are written from."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.handlers import graph_export, graph_load
from etcdcompute.placement.api.openapi.parts import JSON, TEXT, Answer, Operation, document
from etcdcompute.placement.api.schemas import allocation_candidate, graph_query
from etcdcompute.placement.api.schemas.forms import UUID, Schema, record
from etcdcompute.placement.api.tree_documents import ProviderBody
from etcdcompute.placement.api.version import LATEST
from etcdcompute.placement.graph.export import Export
from etcdcompute.placement.insight.capacity import Capacity
from etcdcompute.placement.insight.explanation import Explanation

_TYPES: Final = (ProviderBody, Explanation, Capacity, Export)


def schemas_of_types() -> dict[str, Any]:
    """Return the schemas of the types that bodies are read into and written from, by name."""
    _, found = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return found


def _type(name: type) -> Schema:
    return {"$ref": f"#/components/schemas/{name.__name__}"}


_TREE: Final = _type(ProviderBody)
_UUIDS: Final[Schema] = {"type": "array", "items": UUID}
_NAMES: Final[Schema] = {"type": "array", "items": TEXT}
_OUTCOME: Final = record(
    {
        "changed": {"type": "boolean"},
        "created": _UUIDS,
        "updated": _UUIDS,
        "removed": _UUIDS,
        "created_traits": _NAMES,
        "created_resource_classes": _NAMES,
        "tree": _TREE,
    }
)
_EXPLANATION: Final[Schema] = {
    "allOf": [_type(Explanation), {"type": "object", "properties": {"text": TEXT}, "required": ["text"]}]
}
# Not of the type string: whoever generates clients would have each line quoted.
_LINES: Final[Schema] = {"description": "One JSON document a line."}
_ROWS: Final = record(
    {
        "columns": _NAMES,
        "rows": {"type": "array", "items": {"type": "array"}},
        "truncated": {"type": "boolean"},
        "took_ms": {"type": "number", "minimum": 0},
    }
)
_QUERY: Final = allocation_candidate.query(LATEST)
_SINCE: Final[Validator] = compile_schema(record({}, {"since": {"type": "string", "pattern": "^[0-9]{1,19}$"}}))

OWN: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/graph/trees": {
        "POST": Operation(
            {200: Answer({graph_load.MEDIA_TYPE: _LINES}, ("cache-control",))},
            body_content={graph_load.MEDIA_TYPE: _LINES},
        )
    },
    "/graph/trees/{root}": {
        "GET": Operation({200: document(_TREE)}, refusals=(404, 409)),
        "PUT": Operation(
            {200: document(_OUTCOME), 201: document(_OUTCOME)}, body_content={JSON: _TREE}, refusals=(409,)
        ),
        "DELETE": Operation({204: Answer()}, refusals=(409,)),
    },
    "/graph/events": {"GET": Operation({200: Answer({"text/event-stream": TEXT}, ("cache-control",))}, query=_SINCE)},
    "/graph/export": {
        "GET": Operation({200: Answer({JSON: _type(Export), "text/vnd.graphviz": TEXT})}, query=graph_export.QUERY)
    },
    "/graph/explain": {
        "GET": Operation({200: Answer({JSON: _EXPLANATION, "text/plain": TEXT})}, query=_QUERY, refusals=(406,))
    },
    "/graph/capacity": {"GET": Operation({200: document(_type(Capacity))}, query=_QUERY)},
    "/graph/query": {
        "POST": Operation({200: Answer({JSON: _ROWS, "text/plain": TEXT})}, body=graph_query.POST, refusals=(406,))
    },
    "/graph/openapi.json": {"GET": Operation({200: document({"type": "object"})})},
}
