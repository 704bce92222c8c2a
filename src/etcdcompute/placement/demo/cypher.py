"""The posts' own graph in Cypher: how it is made, and the queries as they are printed. Text and parameters, no driver.

Labels cannot be parameters; they come from this package alone. Names and amounts are parameters throughout.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from etcdcompute.placement.demo.topologies import AGGREGATE, Holder, Resource, Topology, uuid_of

Row = Mapping[str, Any]
Statement = tuple[str, Mapping[str, Any]]
# All labels that the posts' graphs have.
LABELS: Final = ("ComputeNode", "NUMA", "SharedDisk", "DISK_GB", "MEMORY_MB", "VCPU", "VF", "Aggregate", "Consumer")
_BATCH: Final = 1000

_AGGREGATE: Final = "CREATE (:Aggregate {name: $name})"
_MEMBER: Final = """\
UNWIND $names AS name
MATCH (member:ComputeNode|SharedDisk {name: name}), (agg:Aggregate {name: $aggregate})
CREATE (member)-[:MEMBER]->(agg)"""
_CONSUMER: Final = "CREATE (:Consumer {name: $name, pk: $pk})"
_CONSUMES: Final = """\
MATCH (consumer:Consumer {pk: $pk}), (:ComputeNode)-[:PROVIDES]->(resource {name: $resource})
CREATE (consumer)-[:CONSUMES {amount: $amount}]->(resource)"""

COUNT_LABELLED: Final = f"MATCH (n:{'|'.join(LABELS)}) RETURN count(n) AS found"
USED_BY_ONE: Final = """\
MATCH (consumer:Consumer {pk: 1})-[takes:CONSUMES]->(resource)
RETURN labels(resource)[0] AS resource_class, sum(takes.amount) AS used"""
USED_BY_EACH: Final = """\
MATCH (consumer:Consumer)-[takes:CONSUMES]->(resource)
RETURN consumer.name AS consumer, labels(resource)[0] AS resource_class, sum(takes.amount) AS used"""
USED_BY_ALL: Final = """\
MATCH (:Consumer)-[takes:CONSUMES]->(resource)
RETURN labels(resource)[0] AS resource_class, sum(takes.amount) AS used"""


def ram_and_disk(ram: int, disk: int) -> str:
    """Return the nested example's query: everything is below the compute node."""
    return f"""\
MATCH p=(cnode:ComputeNode)-[*]->(ram:MEMORY_MB)
WHERE ram.total - ram.used > {ram:d}
WITH p, cnode, ram
MATCH (cnode:ComputeNode)-[*]->(disk:DISK_GB)
WHERE disk.total - disk.used > {disk:d}
RETURN p, cnode, disk, ram"""


def ram_and_any_disk(ram: int, disk: int) -> str:
    """Return the query of nested and shared together: the disk may be in any direction."""
    return f"""\
MATCH (cnode:ComputeNode)-[*]->(ram:MEMORY_MB)
WHERE ram.total - ram.used > {ram:d}
WITH cnode, ram
MATCH (cnode:ComputeNode)-[*]-(disk:DISK_GB)
WHERE disk.total - disk.used > {disk:d}
RETURN cnode, disk, ram"""


def any_disk(disk: int) -> str:
    """Return the shared example's query."""
    return f"""\
MATCH (cnode:ComputeNode)-[*]-(disk:DISK_GB)
WHERE disk.total - disk.used > {disk:d}
RETURN cnode, disk"""


def disks_left(more_than: int) -> str:
    """Return the query for the disks with more than so much left after all consumers."""
    return f"""\
MATCH (cnode:ComputeNode)-[:PROVIDES]->(disk:DISK_GB)
OPTIONAL MATCH (:Consumer)-[takes:CONSUMES]->(disk)
WITH cnode, disk, disk.total - sum(takes.amount) AS left
WHERE left > {more_than:d}
RETURN cnode.name AS cnode, disk.name AS disk, left"""


def creation(topology: Topology) -> Iterator[Statement]:
    """Yield the statements that make a topology's graph, in order; things of one shape are made together."""
    shapes: dict[str, list[Holder]] = {}
    for holder in topology.holders:
        shapes.setdefault(_creating(holder), []).append(holder)
    for text, holders in shapes.items():
        for begin in range(0, len(holders), _BATCH):
            yield text, {"rows": [_row(holder) for holder in holders[begin : begin + _BATCH]]}
    if topology.members:
        yield _AGGREGATE, {"name": AGGREGATE}
        yield _MEMBER, {"aggregate": AGGREGATE, "names": [holder.name for holder in topology.members]}
    for taker in topology.takers:
        yield _CONSUMER, {"name": taker.name, "pk": taker.pk}
        for resource, amount in taker.takes:
            yield _CONSUMES, {"pk": taker.pk, "resource": resource, "amount": amount}


def path_text(path: Sequence[Any]) -> str:
    """Return a path as the driver gives it (properties and types in turn) in Cypher's form."""
    return "".join(f"-[:{each}]->" if isinstance(each, str) else f"({each['name']})" for each in path)


def properties(thing: Holder | Resource) -> dict[str, Any]:
    """Return the properties that a thing's node has in the posts' graph."""
    found: dict[str, Any] = {"name": thing.name, "uuid": uuid_of(thing.name)}
    if isinstance(thing, Resource):
        found["total"] = thing.total
        if thing.used is not None:
            found["used"] = thing.used
        if thing.network:
            found["network"] = thing.network
    return found


def _parts(holder: Holder) -> Iterator[tuple[str, Holder | Resource]]:
    """Yield a holder, what it provides and contains, each with the pattern that hangs it up (`{}` is its own node)."""
    numbers: dict[str, int] = {holder.name: 0}
    yield f"({{}}:{holder.label})", holder
    for each in holder.below():
        parent = numbers[each.name]
        for resource in each.resources:
            numbers[resource.name] = len(numbers)
            yield f"(n{parent})-[:PROVIDES]->({{}}:{resource.label})", resource
        for inner in each.contains:
            numbers[inner.name] = len(numbers)
            yield f"(n{parent})-[:CONTAINS]->({{}}:{inner.label})", inner


def _creating(holder: Holder) -> str:
    patterns = [pattern.format(f"n{number}") for number, (pattern, _) in enumerate(_parts(holder))]
    settings = [f"n{number} = row.n{number}" for number in range(len(patterns))]
    return f"UNWIND $rows AS row\nCREATE {', '.join(patterns)}\nSET {', '.join(settings)}"


def _row(holder: Holder) -> dict[str, Any]:
    return {f"n{number}": properties(thing) for number, (_, thing) in enumerate(_parts(holder))}
