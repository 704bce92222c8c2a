"""Reshaping: the inventories of providers as in their PUT, and the allocations of consumers as in their POST."""

from typing import Final

from etcdcompute.placement.api.exchange import Validator, compile_schema
from etcdcompute.placement.api.schemas import allocation
from etcdcompute.placement.api.schemas.forms import UUID_KEY, mapping, record
from etcdcompute.placement.api.schemas.inventory import ALL

_POSTS: Final = tuple(
    (
        since,
        compile_schema(
            record({"inventories": mapping(UUID_KEY, ALL, at_least=1), "allocations": mapping(UUID_KEY, consumer)})
        ),
    )
    for since, consumer in (
        (38, allocation.ONE_1_38),
        (34, allocation.ONE_1_34),
        (30, allocation.ONE_1_28),
    )
)


def post(version: int) -> Validator:
    """Return the schema of a reshape."""
    return next(schema for since, schema in _POSTS if version >= since)
