"""Inventories: the same in all versions."""

from typing import Final

from etcdcompute.placement.api.exchange import compile_schema
from etcdcompute.placement.api.schemas.forms import GENERATION, NAME, Schema, record
from etcdcompute.placement.graph.records import MAX_INT


def _whole(minimum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": MAX_INT}


_TOTAL: Final = {"total": _whole(1)}
_OPTIONAL: Final[dict[str, Schema]] = {
    "reserved": _whole(0),
    "min_unit": _whole(1),
    "max_unit": _whole(1),
    "step_size": _whole(1),
    # The largest single-precision number, which is what OpenStack's tables hold.
    "allocation_ratio": {"type": "number", "maximum": 3.40282e38},
}
_GENERATION: Final = {"resource_provider_generation": GENERATION}
_CLASS: Final[dict[str, Schema]] = {"resource_class": {"type": "string", "pattern": NAME}}
_ONE: Final = record(_TOTAL, {**_OPTIONAL, **_GENERATION})
# Keys of another form than a class's name are let through, and then found not to be the name of any.
_ALL: Final[dict[str, Schema]] = {
    "inventories": {"type": "object", "patternProperties": {NAME: _ONE}, "additionalProperties": _ONE}
}

ALL: Final = record({**_GENERATION, **_ALL})
PUT_ALL: Final = compile_schema(ALL)
PUT_ONE: Final = compile_schema(record({**_TOTAL, **_GENERATION}, _OPTIONAL))
POST: Final = compile_schema(record({**_TOTAL, **_CLASS}, {**_OPTIONAL, **_GENERATION}))
