"""The posts' own Cypher on a real Neo4j, beside the service's answers; and nothing is left of either."""

from collections.abc import Iterator

import pytest

from etcdcompute.errors import AlreadyExists
from etcdcompute.placement.demo.examples import CONSUMERS, EXAMPLES, NESTED, NESTED_AND_SHARED, SHARED, Example
from etcdcompute.placement.demo.play import Place, play
from etcdcompute.placement.demo.posts import PostsGraph, Run, read_rows
from etcdcompute.placement.graph.embedded import EmbeddedStore
from etcdcompute.placement.graph.journal import MemoryJournal
from etcdcompute.placement.graph.neo4j.posts import rolled_back
from tests.functional.neo4j_server import Neo4jServer


@pytest.fixture(scope="module")
def neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    with Neo4jServer(tmp_path_factory.mktemp("neo4j")) as server:
        yield server


def silent(text: str) -> None:
    pass


def nodes(neo4j: Neo4jServer) -> list[dict[str, object]]:
    return neo4j.run("MATCH (n) RETURN labels(n) AS labels, properties(n) AS properties ORDER BY elementId(n)")


def counted(neo4j: Neo4jServer, example: Example, size: int) -> list[int]:
    """Return how many rows each of an example's queries has; they are the rows that its pattern matches."""
    topology = example.make(size)

    def ask(run: Run) -> list[int]:
        graph = PostsGraph(run)
        graph.make(topology, silent)
        assert run("MATCH (n) WHERE n.name IS NOT NULL RETURN count(n) AS found", {}) == [
            {"found": topology.graph_nodes}
        ]
        counts = []
        for search in example.searches:
            found = read_rows(topology, graph.ask(search.cypher).rows)
            assert sorted(record.names for record in found) == sorted(
                record.names for record in search.matches(topology)
            )
            counts.append(len(found))
        return counts

    return rolled_back(neo4j.url, ask)


@pytest.mark.parametrize(
    ("example", "size", "counts"),
    [
        (NESTED, 50, [78, 6]),
        (NESTED, 1000, [1536, 72]),
        (SHARED, 1, [5, 4, 2]),
        (NESTED_AND_SHARED, 50, [15, 6, 3]),
    ],
)
def test_the_posts_queries_find_what_the_posts_print(
    neo4j: Neo4jServer, example: Example, size: int, counts: list[int]
) -> None:
    neo4j.run("MATCH (n) DETACH DELETE n")
    assert counted(neo4j, example, size) == counts
    assert nodes(neo4j) == []


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_demo_shows_what_neo4j_found(neo4j: Neo4jServer, example: Example) -> None:
    neo4j.run("MATCH (n) DETACH DELETE n")
    store = EmbeddedStore(MemoryJournal())
    store.start()
    said: list[str] = []
    place = Place(store, "memory", lambda work: rolled_back(neo4j.url, work))
    try:
        play(example, 5, place, keep=True, show=said.append, say=silent)
    finally:
        store.close()
    text = "\n".join(said)
    if example is CONSUMERS:
        assert "Neo4j              resource_class DISK_GB, used 750" in text
        assert "Neo4j                      cnode simple_node, disk disk, left 3250" in text
    else:
        assert text.count("the query on Neo4j") == len(example.searches)
    assert nodes(neo4j) == []


def test_a_database_with_nodes_of_such_labels_is_left_alone(neo4j: Neo4jServer) -> None:
    neo4j.run("MATCH (n) DETACH DELETE n")
    neo4j.run("CREATE (:ComputeNode {name: 'mine'})")
    with pytest.raises(AlreadyExists, match="holds 1 nodes with labels of the posts"):
        counted(neo4j, SHARED, 1)
    assert [each["properties"] for each in nodes(neo4j)] == [{"name": "mine"}]
    neo4j.run("MATCH (n) DETACH DELETE n")
