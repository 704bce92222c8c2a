"""The rows about the posts: which there are, and what is said of their floors."""

import pytest

from bench.figures import Figure, Unit
from bench.posts_rows import ROWS, SERVICES, Ask, PostsRow, Where, judge
from bench.report import Results, posts_comparison
from bench.rows import chosen, chosen_of_posts


def row(key: str) -> PostsRow:
    (found,) = [each for each in ROWS if each.key == key]
    return found


def figures(**values: float) -> dict[Where, Figure]:
    return {Where[name]: Figure((value,)) for name, value in values.items()}


def verdicts(key: str, **values: float) -> list[tuple[str, bool]]:
    return [(verdict.floor, verdict.met) for verdict in judge(row(key), figures(**values))]


def test_the_posts_sizes_are_there_and_the_creation() -> None:
    searches = [(each.size, each.ask) for each in ROWS if each.ask is not Ask.CREATE]
    assert searches == [(size, ask) for size in (50, 1_000, 10_000) for ask in list(Ask)[:4]]
    assert row("posts-create").size == 10_000
    assert len({each.key for each in ROWS}) == len(ROWS)
    assert all(each.unit is (Unit.S if each.ask is Ask.CREATE else Unit.MS) for each in ROWS)
    assert all(each.where[0] is Where.CYPHER for each in ROWS)


def test_the_words_choose_them_alone() -> None:
    assert chosen("posts") == ()
    assert chosen_of_posts("posts") == ROWS
    assert chosen_of_posts("claims") == ()
    assert [each.key for each in chosen_of_posts("posts-50, posts-create")][-2:] == ["posts-50-all", "posts-create"]


def test_a_search_is_held_against_the_plain_query_and_against_neo4j() -> None:
    assert verdicts("posts-1000-all", CYPHER=100, NEO4J=150, ETCD=15) == [
        ("Neo4j <= 1.5 x Cypher (1.50 x)", True),
        ("etcd >= 10 x as fast as Neo4j (10.0 x)", True),
    ]
    assert verdicts("posts-1000-all", CYPHER=100, NEO4J=160, ETCD=20, MEMORY=10) == [
        ("Neo4j <= 1.5 x Cypher (1.60 x)", False),
        ("etcd >= 10 x as fast as Neo4j (8.00 x)", False),
        ("memory >= 10 x as fast as Neo4j (16.0 x)", True),
    ]


def test_ten_of_them_have_a_floor_of_their_own() -> None:
    assert verdicts("posts-50-limit", NEO4J=21, ETCD=2) == [
        ("Neo4j <= 20 ms", False),
        ("etcd >= 10 x as fast as Neo4j (10.5 x)", True),
    ]


def test_creation_has_a_floor_on_neo4j_and_embedded() -> None:
    assert verdicts("posts-create", CYPHER=9, NEO4J=19, ETCD=6, MEMORY=4) == [
        ("Neo4j <= 20 s", True),
        ("etcd <= 5 s", False),
        ("memory <= 5 s", True),
    ]


def test_of_what_was_not_measured_nothing_is_said() -> None:
    assert verdicts("posts-10000-all", CYPHER=9) == []


@pytest.mark.parametrize("whole", [True, False])
def test_the_table_shows_all_sides_and_floors_of_a_whole_run_only(whole: bool) -> None:
    wanted = row("posts-create")
    results = Results(
        {(wanted.key, where): Figure((4.0,)) for where in (Where.CYPHER, *SERVICES[1:])},
        {(wanted.key, Where.NEO4J): "it broke"},
    )
    table = posts_comparison([wanted], results, whole=whole)
    (line,) = [line for line in table.splitlines() if "4.00" in line]
    assert line.removeprefix(wanted.work).split() == ["4.00", "s", "failed", "4.00", "s", "4.00", "s"]
    assert ("etcd <= 5 s" in table) is whole
