"""Usages of a project; 1.38 brought the consumer type."""

from typing import Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas.forms import EXTERNAL_ID, NAME, Schema, record

_PROJECT: Final[dict[str, Schema]] = {"project_id": EXTERNAL_ID}
_USER: Final[dict[str, Schema]] = {"user_id": EXTERNAL_ID}
_TYPE: Final[dict[str, Schema]] = {"consumer_type": {**EXTERNAL_ID, "pattern": f"{NAME}|^all$|^unknown$"}}
_GET_1_9: Final = compile_schema(record(_PROJECT, _USER))
_GET_1_38: Final = compile_schema(record(_PROJECT, {**_USER, **_TYPE}))


def query(version: int) -> Validator:
    """Return the schema of the query."""
    return _GET_1_38 if version >= 38 else _GET_1_9
