# Copyright: Contributors to etcd-compute
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A resource provider as a task wants it and as placement has it, in one form that can be compared."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.etcdcompute.cloud.plugins.module_utils.document import AMOUNT_LIMIT, SYMBOL, check_uuid
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError

NAME_LIMIT = 200
# What placement fills in for what an inventory does not say; total has no default.
INVENTORY_DEFAULTS: Dict[str, Any] = {
    "reserved": 0,
    "min_unit": 1,
    "max_unit": AMOUNT_LIMIT,
    "step_size": 1,
    "allocation_ratio": 1.0,
}
_LOWEST = {"total": 1, "reserved": 0, "min_unit": 1, "max_unit": 1, "step_size": 1}
_NUMBER = re.compile(r"[0-9]+")


def wanted_from_options(params: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what the task manages of inventories, traits and aggregates, checked; what it omits is left out."""
    wanted: Dict[str, Any] = {}
    if params.get("inventories") is not None:
        wanted["inventories"] = {
            _symbol("inventories", name): _inventory("inventories.%s" % name, values)
            for name, values in params["inventories"].items()
        }
    if params.get("traits") is not None:
        wanted["traits"] = sorted({_symbol("traits", each) for each in params["traits"]})
    if params.get("aggregates") is not None:
        wanted["aggregates"] = sorted({check_uuid(each, "aggregates") for each in params["aggregates"]})
    return wanted


def check_provider_name(name: str) -> str:
    """Return the name; ModuleError where placement would not take it."""
    if not 1 <= len(name) <= NAME_LIMIT:
        raise ModuleError("name: %d characters are given, 1 to %d are possible" % (len(name), NAME_LIMIT))
    return name


def stored_inventories(inventories: Mapping[str, Mapping[str, Any]]) -> Dict[str, Dict[str, Any]]:
    """Return inventories as placement sends them, in the form that a task's have."""
    return {
        name: {field: values.get(field, INVENTORY_DEFAULTS.get(field)) for field in ("total", *INVENTORY_DEFAULTS)}
        for name, values in sorted(inventories.items())
    }


def normalised_provider(provider: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Return what a diff shows; {} where there is no provider."""
    if provider is None:
        return {}
    return {field: provider[field] for field in ("name", "parent_uuid", "inventories", "traits", "aggregates")}


def provider_changes(
    before: Optional[Mapping[str, Any]], after: Optional[Mapping[str, Any]]
) -> Dict[str, Dict[str, Any]]:
    """Return what differs, field by field."""
    old, new = normalised_provider(before), normalised_provider(after)
    fields: List[str] = [*old, *(field for field in new if field not in old)]
    return {
        field: {"before": old.get(field), "after": new.get(field)}
        for field in fields
        if old.get(field) != new.get(field)
    }


def _symbol(option: str, name: Any) -> str:
    if not isinstance(name, str) or not SYMBOL.fullmatch(name):
        raise ModuleError("%s: %r must consist of capital letters, digits and underscores" % (option, name))
    return name


def _inventory(option: str, values: Any) -> Dict[str, Any]:
    if not isinstance(values, dict):
        raise ModuleError("%s: give a dictionary with at least total" % option)
    unknown = sorted(str(field) for field in values if field != "total" and field not in INVENTORY_DEFAULTS)
    if unknown:
        known = ", ".join(["total", *INVENTORY_DEFAULTS])
        raise ModuleError("%s: %s is unknown; known are %s" % (option, ", ".join(unknown), known))
    if values.get("total") is None:
        raise ModuleError("%s: total is missing" % option)
    inventory = {}
    for field in ("total", *INVENTORY_DEFAULTS):
        value = values.get(field)
        if value is None:
            inventory[field] = INVENTORY_DEFAULTS[field]
        elif field == "allocation_ratio":
            inventory[field] = _ratio(option + "." + field, value)
        else:
            inventory[field] = _amount(option + "." + field, value, _LOWEST[field])
    if inventory["reserved"] > inventory["total"]:
        raise ModuleError("%s: reserved is more than total" % option)
    return inventory


def _amount(option: str, value: Any, lowest: int) -> int:
    # Values of a free dictionary come as a template made them, so digits may be a string.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= AMOUNT_LIMIT:
        raise ModuleError("%s: %r is not a whole number from %d to %d" % (option, value, lowest, AMOUNT_LIMIT))
    return value


def _ratio(option: str, value: Any) -> float:
    try:
        ratio = float(value)
    except (TypeError, ValueError):
        ratio = math.nan
    if isinstance(value, bool) or not 0 < ratio < math.inf:
        raise ModuleError("%s: %r is not a number above 0" % (option, value))
    return ratio
