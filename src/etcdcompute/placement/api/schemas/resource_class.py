"""Resource classes."""

from typing import Final

from etcdcompute.placement.api.exchange import compile_schema
from etcdcompute.placement.api.schemas.forms import CUSTOM_NAME, record

CUSTOM: Final = compile_schema(record({"name": {"type": "string", "pattern": CUSTOM_NAME, "maxLength": 255}}))
