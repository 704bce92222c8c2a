"""Requests with something wrong in them: what is right, spoilt in one place or two."""

from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from tests.conformance.differential.comparing import CANDIDATES
from tests.conformance.differential.deployments import AGGREGATES, PROVIDERS, TRAITS
from tests.conformance.differential.exchange import Ask

_UNDASHED: Final = PROVIDERS[0].replace("-", "")
_WORDS: Final = (
    *("", " ", ",", ":", "!", "in:", "!in:", "in:!", "none", "isolate", "0", "-1", "1", "01", "1.5", "x", "é", "\x00"),
    *("VCPU", "VCPU:", "VCPU:0", "VCPU:-1", "VCPU:x", "VCPU:1.0", "VCPU: 1", "VCPU:1:1", "VCPU:1,", ",VCPU:1", ":1"),
    *("VCPU:1,VCPU:2", "vcpu:1", "VCPU:9999999999", "VCPU:99999999999999999999", "VCPU=1", "VCPU:1;DISK_GB:1"),
    *(TRAITS[0], f"!{TRAITS[0]}", f"!!{TRAITS[0]}", f"{TRAITS[0]},", f"{TRAITS[0]},!{TRAITS[0]}", f" {TRAITS[0]} "),
    *(f"in:{TRAITS[0]}", f"in:{TRAITS[0]},", f"in:!{TRAITS[0]}", f"!in:{TRAITS[0]}", f"in:{TRAITS[0]},!{TRAITS[1]}"),
    *(AGGREGATES[0], f"!{AGGREGATES[0]}", f"in:{AGGREGATES[0]}", f"!in:{AGGREGATES[0]}", f"in:!{AGGREGATES[0]}"),
    *(f"{AGGREGATES[0]},{AGGREGATES[1]}", f"in:{AGGREGATES[0]},", f"in:{AGGREGATES[0]},!{AGGREGATES[1]}", "!!x"),
    *(PROVIDERS[0], _UNDASHED, PROVIDERS[0].upper(), f"{{{PROVIDERS[0]}}}", f"urn:uuid:{PROVIDERS[0]}", "1,2", "_A,2"),
    *("startswith:", "startswith:CUSTOM", "true", "True", "all", "unknown", "INSTANCE", "x" * 300),
)
_KEYS: Final = (
    *("resources", "required", "member_of", "in_tree", "limit", "group_policy", "root_required", "same_subtree"),
    *("resources1", "required1", "member_of1", "in_tree1", "resources0", "resources01", "resources_A", "resources-"),
    *("required_A", "member_of_A", "in_tree_A", "Resources", "resources ", f"resources{'x' * 65}", "resources.1"),
    *("name", "uuid", "associated", "project_id", "user_id", "consumer_type", "nonsense", ""),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        0,
        -1,
        1,
        2.0,
        1.5,
        2**31 - 1,
        2**31,
        2**63,
        1e400,
        "",
        " ",
        "x",
        "VCPU",
        "é",
        "x" * 300,
        [],
        {},
        [None],
    ),
    *([1], ["x", "x"], {"x": 1}, PROVIDERS[0], _UNDASHED, PROVIDERS[0].upper(), "CUSTOM_", "CUSTOM_x", "CUSTOM_A\n"),
)
_BODIES: Final = (
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"1",
    b"\xff",
    b'{"a": 1}',
    b"{}",
    b"[[[[[[]]]]]]",
    b'{"name": "\\ud800"}',
)
_PATHS: Final = (
    "/resource_providers",
    *(f"/resource_providers/{uuid}" for uuid in (PROVIDERS[0], _UNDASHED, PROVIDERS[0].upper(), "x")),
    *(f"/resource_providers/{PROVIDERS[0]}/{part}" for part in ("inventories", "traits", "aggregates", "usages", "x")),
    *(f"/resource_providers/{PROVIDERS[0]}/inventories/{name}" for name in ("VCPU", "vcpu", "X", "CUSTOM_")),
    *(f"/resource_providers/x/{part}" for part in ("inventories", "traits", "aggregates", "usages", "allocations")),
    *(f"/allocations/{uuid}" for uuid in ("x", _UNDASHED, PROVIDERS[0].upper())),
    *("/allocations", CANDIDATES, "/usages", "/traits", "/resource_classes", "/reshaper", "/x", "/traits/x"),
    *("/traits/VCPU", "/traits/CUSTOM_", "/traits/CUSTOM_x", "/resource_classes/x", "/resource_classes/CUSTOM_"),
)
versions = st.one_of(st.just(39), st.integers(0, 39))


@st.composite
def bad_queries(draw: st.DrawFn, right: st.SearchStrategy[Ask]) -> Ask:
    """Draw a query of which one or two parameters are odd."""
    ask = draw(st.one_of(right, st.sampled_from(_PATHS).map(lambda path: Ask("GET", path))))
    pairs = list(ask.query)
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        how = draw(st.integers(0, 3))
        if how == 0 or not pairs:
            pairs.append((draw(st.sampled_from(_KEYS)), draw(st.sampled_from(_WORDS))))
        else:
            number = draw(st.integers(0, len(pairs) - 1))
            key, value = pairs[number]
            if how == 1:
                pairs[number] = (key, draw(st.sampled_from(_WORDS)))
            elif how == 2:
                pairs[number] = (draw(st.sampled_from(_KEYS)), value)
            else:
                pairs.append((key, draw(st.sampled_from([value, *_WORDS]))))
    version = draw(st.one_of(st.just(ask.version), versions))
    return replace(ask, query=tuple(pairs), version=version)


@st.composite
def bad_bodies(draw: st.DrawFn, right: st.SearchStrategy[Ask]) -> Ask:
    """Draw a write whose body is spoilt in one place, or is no such thing at all."""
    ask = draw(right)
    how = draw(st.integers(0, 9))
    if how == 0:
        return replace(ask, raw=draw(st.sampled_from(_BODIES)), version=draw(versions))
    if how == 1:
        method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]))
        return replace(ask, method=method, path=draw(st.sampled_from(_PATHS)), version=draw(versions))
    if how == 2:
        return replace(ask, version=draw(versions))
    body = draw(_spoilt(ask.body))
    if isinstance(body, dict) and "name" in body and not body.get("uuid") and ask.method == "POST":
        # A provider without a uuid would get a random one.
        body["uuid"] = PROVIDERS[3]
    return replace(ask, body=body)


@st.composite
def _spoilt(draw: st.DrawFn, body: Any) -> Any:
    body = deepcopy(body)
    places = list(_places(body))
    if not places:
        return draw(st.sampled_from(_VALUES))
    holder, key = draw(st.sampled_from(places))
    how = draw(st.integers(0, 3))
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[draw(st.sampled_from(["x", "", "VCPU", "name", "uuid", PROVIDERS[0], _UNDASHED]))] = holder[key]
    else:
        holder[key] = draw(st.sampled_from(_VALUES))
    return body


def _places(body: Any) -> Any:
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in items:
        yield body, key
        yield from _places(value)
