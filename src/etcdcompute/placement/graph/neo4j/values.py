"""What Neo4j answers, as values that JSON can hold.

node            {"labels": ["ResourceProvider"], "properties": {…}}
relationship    {"type": "CONSUMES", "properties": {…}}
path            {"nodes": [node, …], "relationships": [{"type": …, "properties": {…}, "start": 1, "end": 0}, …]}
                start and end are places in `nodes`
temporal        "2026-11-26T02:30:27Z", "P1DT2H": as ISO 8601 has them
point           {"srid": 4326, "coordinates": [8.5, 47.4]}
bytes           in base64
NaN, Infinity   as strings: JSON has no such numbers
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

from neo4j.graph import Node, Path, Relationship
from neo4j.spatial import Point
from neo4j.time import Date, DateTime, Duration, Time


def plain(value: Any) -> Any:
    """Return a value of the driver's in plain ones."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _not_a_number(value)
        case Node():
            return {"labels": sorted(value.labels), "properties": _mapping(value)}
        case Relationship():
            return {"type": value.type, "properties": _mapping(value)}
        case Path():
            return _path(value)
        case Date() | DateTime() | Duration() | Time():
            return value.iso_format()
        case Point():
            return {"srid": value.srid, "coordinates": [plain(each) for each in value]}
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping():
            return _mapping(value)
        case list() | tuple():
            return [plain(each) for each in value]
    return str(value)


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(each) for name, each in value.items()}


def _not_a_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _path(path: Path) -> dict[str, Any]:
    places = {node.element_id: place for place, node in enumerate(path.nodes)}
    relationships = [
        {
            **plain(each),
            "start": places[each.start_node.element_id] if each.start_node else None,
            "end": places[each.end_node.element_id] if each.end_node else None,
        }
        for each in path.relationships
    ]
    return {"nodes": [plain(node) for node in path.nodes], "relationships": relationships}
