"""The fast validator never lets pass what the exact one refuses."""

import copy
import json
import math
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdcompute.placement.api.exchange import Request, Validator, read_body
from etcdcompute.placement.api.patterns import to_python
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.schemas import aggregate, allocation, inventory, resource_provider

ONE, TWO = "5f3a7c1e-0000-4000-8000-000000000001", "5f3a7c1e-0000-4000-8000-000000000002"
ALLOCATION = {
    "allocations": {ONE: {"resources": {"VCPU": 1, "CUSTOM_X": 7}}},
    "project_id": ONE,
    "user_id": "somebody",
    "consumer_generation": None,
    "consumer_type": "INSTANCE",
    "mappings": {"": [ONE]},
}
GOOD: list[tuple[Validator, Any]] = [
    (inventory.PUT_ALL, {"resource_provider_generation": 1, "inventories": {"VCPU": {"total": 4, "step_size": 2}}}),
    (inventory.PUT_ONE, {"resource_provider_generation": 1, "total": 4, "allocation_ratio": 1.5}),
    (allocation.put(39), ALLOCATION),
    (allocation.post(39), {TWO: ALLOCATION}),
    (resource_provider.post(39), {"name": "rp", "uuid": ONE, "parent_provider_uuid": None}),
    (aggregate.put(39), {"aggregates": [ONE, TWO], "resource_provider_generation": 0}),
]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 1.0, 1.5, 2**31, 10**40, math.inf, -0.0, math.nan),
        *("", "x", "VCPU\n", ONE, ONE + "\n", "\x00", "é" * 300, "\ud800"),
        *([], {}, [[]], {"": 0}, {ONE + "\n": {}}, {"vcpu": 1}),
    ]
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container and key in data."""
    found = []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += [(data, key), *places(value)]
    return found


@pytest.mark.parametrize(("validator", "good"), GOOD)
def test_good_data_passes(validator: Validator, good: Any) -> None:
    assert validator.find_error(good) is None


@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.lists(ODD, min_size=1, max_size=3), st.booleans())
def test_both_agree_on_data_that_is_slightly_wrong(
    case: tuple[Validator, Any], seed: int, odd: list[Any], renames: bool
) -> None:
    validator, good = case
    data, dice = copy.deepcopy(good), random.Random(seed)
    for value in odd:
        where = places(data)
        if not where:
            break
        container, key = dice.choice(where)
        if renames and isinstance(container, dict) and isinstance(value, str):
            container[value] = container.pop(key)
        else:
            container[key] = copy.deepcopy(value)
    exact = jsonschema.Draft202012Validator(to_python(validator.schema), format_checker=validator._exact.format_checker)
    assert (validator.find_error(data) is None) == exact.is_valid(data)


def test_what_only_python_takes_for_json_is_refused_in_a_sentence() -> None:
    body = json.dumps({"resource_provider_generation": 1, "inventories": {"VCPU": {"total": 10**40}}}).encode()
    request = Request("PUT", "/", (), {}, body, 39, {})
    with pytest.raises(Problem, match="is greater than the maximum"):
        read_body(request, inventory.PUT_ALL)
