"""How the demo writes what it has found. Text only."""

from collections.abc import Iterable, Mapping, Sequence
from pprint import pformat
from typing import Any, Final

from etcdcompute.placement.demo import cypher
from etcdcompute.placement.demo.examples import Record
from etcdcompute.placement.demo.topologies import Holder, Resource

_WIDTH: Final = 116


def indented(text: str, by: str = "    ") -> str:
    """Return a text with every line moved in."""
    return "\n".join(f"{by}{line}" for line in text.splitlines())


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Return pairs as lines with two columns."""
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"{left:<{width}}   {right}" for left, right in rows)


def seconds(took_s: float) -> str:
    """Return a time with its unit."""
    return f"{took_s:.2f} s" if took_s >= 1 else f"{took_s * 1000:.1f} ms"


def amounts(resources: Mapping[str, int]) -> str:
    """Return resources as they stand in a request for candidates."""
    return ",".join(f"{name}:{amount}" for name, amount in resources.items())


def use(resources: Mapping[str, int]) -> str:
    """Return how much of what is used."""
    return ", ".join(f"{amount:,} {name}" for name, amount in sorted(resources.items())) or "nothing"


def counted(number: int, what: str) -> str:
    """Return a number and what it is of."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def dictionary(record: Record) -> dict[str, Any]:
    """Return a record as the posts print it, from what is known of the graph."""
    assert record.ram is not None  # noqa: S101 - only asked for where there is
    found = {"cnode": cypher.properties(record.cnode), "disk": cypher.properties(record.disk)}
    return {**found, "p": _path(record.cnode, record.ram), "ram": cypher.properties(record.ram)}


def row_dictionary(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of Neo4j's in the same form."""
    return {name: cypher.path_text(value) if name == "p" else dict(value) for name, value in sorted(row.items())}


def candidate(record: Record, wanted: Mapping[str, int]) -> str:
    """Return a candidate of the service's: which provider gives what."""
    places: dict[str, dict[str, int]] = {}
    for resource in (record.disk, record.ram):
        if resource is not None:
            places.setdefault(_provider(record.cnode, resource), {})[resource.label] = wanted[resource.label]
    return ", ".join(f"{name} {amounts(resources)}" for name, resources in places.items())


def dictionaries(found: Iterable[Mapping[str, Any]]) -> str:
    """Return records one after another, in the form of Python's dictionaries."""
    return "\n".join(pformat(dict(each), width=_WIDTH) for each in found)


def _path(cnode: Holder, resource: Resource) -> str:
    provider = _provider(cnode, resource)
    between = "" if provider == cnode.name else f"-[:CONTAINS]->({provider})"
    return f"({cnode.name}){between}-[:PROVIDES]->({resource.name})"


def _provider(cnode: Holder, resource: Resource) -> str:
    return next(inner.name for inner in cnode.below() if resource in inner.resources)
