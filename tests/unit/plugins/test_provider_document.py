"""Options of a resource provider: checked early, and brought into the form that placement's answers have."""

from typing import Any

import pytest
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError
from ansible_collections.etcdcompute.cloud.plugins.module_utils.provider_document import (
    INVENTORY_DEFAULTS,
    check_provider_name,
    normalised_provider,
    provider_changes,
    stored_inventories,
    wanted_from_options,
)

from etcdcompute.placement.client import Inventory

AGGREGATE = "0e4b1bd2-9f0c-4c6e-8c6e-1f7f3d9a2b10"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"inventories": {"VCPU": {}}}, r"^inventories\.VCPU: total is missing"),
        ({"inventories": {"VCPU": 3}}, r"^inventories\.VCPU: give a dictionary"),
        ({"inventories": {"VCPU": {"total": 1, "totl": 2}}}, r"totl is unknown; known are total, reserved"),
        ({"inventories": {"VCPU": {"total": 0}}}, r"^inventories\.VCPU\.total: 0 is not a whole number from 1"),
        ({"inventories": {"VCPU": {"total": True}}}, r"^inventories\.VCPU\.total: True is not"),
        ({"inventories": {"VCPU": {"total": 2**31}}}, r"^inventories\.VCPU\.total: "),
        ({"inventories": {"VCPU": {"total": 1, "reserved": 2}}}, r"reserved is more than total"),
        ({"inventories": {"VCPU": {"total": 1, "allocation_ratio": "much"}}}, r"'much' is not a number above 0"),
        ({"inventories": {"VCPU": {"total": 1, "allocation_ratio": 0}}}, r"0 is not a number above 0"),
        ({"inventories": {"VCPU": {"total": 1, "allocation_ratio": "inf"}}}, r"'inf' is not a number"),
        ({"inventories": {"vcpu": {"total": 1}}}, r"^inventories: 'vcpu' must consist of capital letters"),
        ({"traits": ["fast"]}, r"^traits: 'fast' must consist of capital letters"),
        ({"aggregates": ["x"]}, r"^aggregates: 'x' is no uuid"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModuleError, match=words):
        wanted_from_options(options)


@pytest.mark.parametrize("name", ["", "p" * 201])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ModuleError, match="1 to 200 are possible"):
        check_provider_name(name)


def test_only_what_is_given_is_managed() -> None:
    assert wanted_from_options({"inventories": None, "traits": None, "aggregates": None}) == {}
    assert wanted_from_options({"inventories": {}, "traits": [], "aggregates": []}) == {
        "inventories": {},
        "traits": [],
        "aggregates": [],
    }


def test_defaults_are_those_of_placement() -> None:
    wanted = wanted_from_options({"inventories": {"VCPU": {"total": "8"}}})["inventories"]["VCPU"]
    defaults = Inventory(total=8)
    assert wanted == {field: getattr(defaults, field) for field in Inventory.__slots__}
    assert stored_inventories({"VCPU": {"total": 8}}) == {"VCPU": {"total": 8, **INVENTORY_DEFAULTS}}


def test_order_and_repetition_say_nothing() -> None:
    wanted = wanted_from_options({"traits": ["B", "A", "B"], "aggregates": [AGGREGATE.upper(), AGGREGATE]})
    assert wanted == {"traits": ["A", "B"], "aggregates": [AGGREGATE]}


def test_changes_are_told_field_by_field() -> None:
    before: dict[str, Any] = {
        "name": "p",
        "parent_uuid": None,
        "inventories": {},
        "traits": [],
        "aggregates": [],
        "generation": 1,
    }
    after = before | {"traits": ["A"], "generation": 2}
    assert provider_changes(before, after) == {"traits": {"before": [], "after": ["A"]}}
    assert provider_changes(before, before | {"generation": 9}) == {}
    assert normalised_provider(None) == {}
    assert provider_changes(before, None)["name"] == {"before": "p", "after": None}
