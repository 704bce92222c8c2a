"""One example from the beginning to the end: the posts' graph, the service's, what each finds, nothing left behind.

What is found goes to `show`, line by line; what is under way, to `say`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from etcdcompute.errors import EtcdComputeError
from etcdcompute.placement.demo import cypher, providers, service, written
from etcdcompute.placement.demo.examples import MOST_SHOWN, Example, Record, Search
from etcdcompute.placement.demo.posts import PostsGraph, Rows, Run, read_rows
from etcdcompute.placement.demo.service import Asking, Say
from etcdcompute.placement.demo.topologies import Taker, Topology, uuid_of
from etcdcompute.placement.demo.walk import is_foreign, owner_of
from etcdcompute.placement.graph.store import GraphStore

Show = Callable[[str], None]
Asked = Mapping[str, Rows]
# Lets work be done in a transaction on Neo4j that is not going to be committed.
InNeo4j = Callable[[Callable[[Run], Asked]], Asked]
_LEFT_AT_LEAST = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is played: a store, what it is called, and the way to run Cypher beside it, where it is Neo4j's."""

    store: GraphStore
    name: str
    in_neo4j: InNeo4j | None = None


def play(example: Example, size: int, place: Place, *, keep: bool, show: Show, say: Say) -> None:
    """Play an example; with `keep` the service's part stays."""
    topology = example.make(size)
    service.await_ready(place.store, say)
    service.clear(place.store, place.name, say)
    show(_introduction(example, size, topology))
    if place.in_neo4j is None:
        show("The Cypher is printed, not run: that takes --graph neo4j://USER:PASSWORD@HOST:PORT.")
    try:
        asked = _ask_posts(example, topology, place, say)
        service.load(place.store, topology, say)
        _show_answers(example, size, topology, place.store, asked, show)
    except BaseException:
        # Half of an example is of no use to anybody.
        with suppress(EtcdComputeError):
            _remove(place, say)
        raise
    if not keep:
        _remove(place, say)


def _remove(place: Place, say: Say) -> None:
    try:
        service.remove(place.store, place.store.take_snapshot(), say)
    except EtcdComputeError:
        say(f"not all that the demo made in {place.name} could be removed; the next demo there does it")
        raise


def _show_answers(example: Example, size: int, topology: Topology, store: GraphStore, asked: Asked, show: Show) -> None:
    if not example.searches:
        show("\n" + _consumed(store, topology, asked))
        return
    asking = Asking(store, topology)
    for search in example.searches:
        show("\n" + _searched(search, topology, size, asking, asked.get(search.cypher)))


def _ask_posts(example: Example, topology: Topology, place: Place, say: Say) -> Asked:
    """Return what each of the posts' queries finds on Neo4j; nothing where it is played on another store."""

    def ask(run: Run) -> dict[str, Rows]:
        graph = PostsGraph(run)
        graph.make(topology, say)
        return {query: graph.ask(query) for query in _queries(example)}

    return place.in_neo4j(ask) if place.in_neo4j else {}


def _queries(example: Example) -> Sequence[str]:
    if example.searches:
        return [search.cypher for search in example.searches]
    return [cypher.USED_BY_ONE, cypher.USED_BY_EACH, cypher.USED_BY_ALL, cypher.disks_left(_LEFT_AT_LEAST)]


def _introduction(example: Example, size: int, topology: Topology) -> str:
    trees = len(topology.holders)
    inside = sum(1 for _ in topology.all_holders())
    times = f"{size:,} of each; " if example.sized else ""
    return (
        f"{example.name}: {example.says}\n"
        f"{times}{topology.graph_nodes:,} nodes and {topology.relationships:,} relationships in the posts' graph, "
        f"{written.counted(trees, 'tree')} of {written.counted(inside, 'resource provider')} in the service's"
    )


# Searches


def _searched(search: Search, topology: Topology, size: int, asking: Asking, rows: Rows | None) -> str:
    found = _by_name(search.matches(topology) if rows is None else read_rows(topology, rows.rows))
    answer = asking.search(search.request, with_ram=search.with_ram)
    served = {record.names for record in answer.records}
    lines = [("the post", f"{search.posted[size]:,} records")] if size in search.posted else []
    if rows is None:
        lines.append(("the query's pattern", f"{len(found):,} records, followed without a database"))
    else:
        lines.append(
            ("the query on Neo4j", f"{len(found):,} records in {written.seconds(rows.took_s)}, planning included")
        )
    wanted = written.amounts(search.resources)
    lines.append(
        ("the service", f"{len(answer.records):,} candidates for {wanted} in {written.seconds(answer.took_s)}")
    )
    wrong = [record for record in found if record.names not in served]
    foreign = sum(is_foreign(topology, record.cnode, record.disk) for record in wrong)
    if wrong:
        of = "all" if foreign == len(wrong) else f"{foreign:,}"
        lines.append(("the difference", f"{len(wrong):,} records, {of} with the own disk of another compute node"))
    parts = [search.asks, "", written.indented(search.cypher), "", written.indented(written.columns(lines))]
    if len(found) <= MOST_SHOWN:
        records = _in_full(search, found, rows) if search.in_full else _pairs(topology, found, served)
        parts += ["", written.indented(records)]
    return "\n".join(parts)


def _in_full(search: Search, found: Sequence[Record], rows: Rows | None) -> str:
    """Write records as the posts have them, each with the candidate that the service has for it."""
    if rows is None:
        dictionaries = [written.dictionary(record) for record in found]
    else:
        by_names = {tuple(row[each]["name"] for each in ("cnode", "disk", "ram")): row for row in rows.rows}
        dictionaries = [written.row_dictionary(by_names[record.names]) for record in found]
    return "\n".join(
        f"{written.dictionaries([dictionary])}\n  the service: {written.candidate(record, search.resources)}"
        for record, dictionary in zip(found, dictionaries, strict=True)
    )


def _pairs(topology: Topology, found: Sequence[Record], served: Collection[tuple[str, ...]]) -> str:
    lines = []
    for record in found:
        line = f"({record.cnode.name!r}, {record.disk.name!r})"
        if record.ram is not None:
            line += f" with {record.ram.name}"
        if record.names not in served:
            owner = owner_of(topology, record.disk)
            line += f"   <- not from the service: {owner.name}'s own disk" if owner else "   <- not from the service"
        lines.append(line)
    return "\n".join(lines)


def _by_name(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.names)


# Consumers


def _consumed(store: GraphStore, topology: Topology, asked: Asked) -> str:
    by_taker = {taker: service.used_by(store, uuid_of(taker.name)) for taker in topology.takers}
    first = topology.takers[0]
    everything = service.total(by_taker.values())
    parts = [
        _use_part(
            f"what the consumer with pk = {first.pk} uses, which the post shows",
            cypher.USED_BY_ONE,
            [(f"the service, consumer {first.name}", written.use(by_taker[first]))],
            asked,
        ),
        _use_part(
            "what each uses",
            cypher.USED_BY_EACH,
            [(f"the service, consumer {taker.name}", written.use(used)) for taker, used in by_taker.items()],
            asked,
        ),
        _use_part("what they use in all", cypher.USED_BY_ALL, [("the service, all", written.use(everything))], asked),
        _owned_part(store, topology.takers),
        _use_part(
            f"disks with more than {_LEFT_AT_LEAST:,} left after all consumers",
            cypher.disks_left(_LEFT_AT_LEAST),
            [
                (f"the service, {name}", f"{left:,} DISK_GB left")
                for name, left in service.with_left(store, "DISK_GB", _LEFT_AT_LEAST).items()
            ],
            asked,
        ),
    ]
    return "\n\n".join(parts)


def _use_part(asks: str, query: str, found: Sequence[tuple[str, str]], asked: Asked) -> str:
    rows = sorted(map(_row_text, asked[query].rows)) if query in asked else []
    lines = [("Neo4j", row) for row in rows]
    lines += found
    return "\n".join([asks, "", written.indented(query), "", written.indented(written.columns(lines))])


def _row_text(row: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items())


def _owned_part(store: GraphStore, takers: Sequence[Taker]) -> str:
    """Per project and user: the posts stop at consumers."""
    project = providers.PROJECT
    lines = [(f"project {project}", written.use(service.used_in_project(store, project)))]
    for taker in takers:
        user = taker.name.lower()
        used = service.used_in_project(store, project, user)
        lines.append((f"project {project}, user {user}", written.use(used)))
    asks = "what projects and users use: the posts' consumers have none, the service's do"
    return "\n".join([asks, "", written.indented(written.columns(lines))])
