"""Queries for candidates of odd forms, which the schema, that sees the last of repeated parameters, lets through."""

import pytest

from etcdcompute.placement.api.candidate_query import MOST_GROUPS, read_candidate_query
from etcdcompute.placement.api.exchange import Request, parse_query
from etcdcompute.placement.api.problems import Problem


def request(query: str) -> Request:
    return Request("GET", "/allocation_candidates", parse_query(query.encode()), {}, b"", 39, {})


@pytest.mark.parametrize(
    ("query", "limit"), [("", None), ("&limit=5", 5), ("&limit=5&limit=7", 5), (f"&limit={'9' * 5000}", None)]
)
def test_limits(query: str, limit: int | None) -> None:
    assert read_candidate_query(request(f"resources=VCPU:1{query}")).limit == limit


@pytest.mark.parametrize("query", ["limit=x&limit=1", "limit=0", "limit=5%0A", "limit=-1", "limit=%D9%A3"])
def test_limits_that_are_none(query: str) -> None:
    with pytest.raises(Problem, match="Invalid query string parameters") as refused:
        read_candidate_query(request(f"resources=VCPU:1&{query}"))
    assert refused.value.status == 400


def test_the_first_policy_counts_and_has_to_be_one() -> None:
    groups = "resources1=VCPU:1&resources2=VCPU:1"
    assert read_candidate_query(request(f"{groups}&group_policy=isolate&group_policy=none")).isolate
    with pytest.raises(Problem, match="group_policy"):
        read_candidate_query(request(f"{groups}&group_policy=bad&group_policy=none"))
    with pytest.raises(Problem, match="group_policy"):
        read_candidate_query(request(groups))


def many(number: int) -> str:
    return "&".join(f"resources{each}=VCPU:1" for each in range(number)) + "&group_policy=none"


def test_groups_classes_and_subtrees_are_limited() -> None:
    assert len(read_candidate_query(request(many(MOST_GROUPS))).groups) == MOST_GROUPS
    classes = ",".join(f"CUSTOM_{number}:1" for number in range(MOST_GROUPS + 1))
    subtrees = "&".join(["same_subtree=1,2"] * (MOST_GROUPS + 1))
    for query in (many(MOST_GROUPS + 1), f"resources={classes}", f"{many(3)}&{subtrees}"):
        with pytest.raises(Problem, match=f"{MOST_GROUPS + 1} .*; at most {MOST_GROUPS} are served") as refused:
            read_candidate_query(request(query))
        assert refused.value.status == 400
