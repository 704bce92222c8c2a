"""Names that end with a line break, which Python's `$` overlooks; and sentences about what is too long to be quoted."""

import pytest

from etcdcompute.placement.api.exchange import check
from etcdcompute.placement.api.problems import MOST_DETAIL, Problem
from etcdcompute.placement.api.schemas import allocation, resource_class, trait, usage

PROVIDER = "11111111-0000-4000-8000-000000000000"
CLAIM = {"project_id": "p", "user_id": "u", "consumer_generation": None, "consumer_type": "T"}


def test_a_name_does_not_end_with_a_line_break() -> None:
    assert trait.CUSTOM.accepts("CUSTOM_X")
    assert not trait.CUSTOM.accepts("CUSTOM_X\n")
    assert not resource_class.CUSTOM.accepts({"name": "CUSTOM_X\n"})


@pytest.mark.parametrize("key", [f"{PROVIDER}\n", f"\n{PROVIDER[1:]}"])
def test_nor_does_a_key(key: str) -> None:
    good = {**CLAIM, "allocations": {PROVIDER: {"resources": {"VCPU": 1}}}}
    assert allocation.put(39).accepts(good)
    assert not allocation.put(39).accepts({**CLAIM, "allocations": {key: {"resources": {"VCPU": 1}}}})
    assert not allocation.put(39).accepts({**CLAIM, "allocations": {PROVIDER: {"resources": {"VCPU\n": 1}}}})
    assert not allocation.post(39).accepts({key: good})


def test_sentences_show_expressions_as_they_are_written() -> None:
    with pytest.raises(Problem) as refused:
        check({"project_id": "p", "consumer_type": "small"}, usage.query(39), "Invalid query string parameters")
    assert "'small' does not match '^[A-Z0-9_]+$|^all$|^unknown$'" in refused.value.detail
    with pytest.raises(Problem, match=r"does not match any of the regexes: '\^\[0-9a-fA-F-\]\{36\}\$'"):
        check({"pony": {}}, allocation.post(39), "JSON does not validate")


def test_what_is_too_long_is_not_quoted_whole() -> None:
    with pytest.raises(Problem, match="JSON does not validate") as refused:
        check([["x" * 100]] * 100_000, resource_class.CUSTOM, "JSON does not validate")
    assert "is not of type 'object'" in refused.value.detail
    assert len(refused.value.detail) <= MOST_DETAIL + 3
