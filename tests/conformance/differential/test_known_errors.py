"""Each known error of OpenStack's on a case of its own: it errs, ours does not, and mended it agrees with ours."""

from typing import Any, Final

import pytest

from tests.conformance.differential.comparing import CANDIDATES, compare
from tests.conformance.differential.deployments import AGGREGATES, CONSUMERS, NAMES, PROVIDERS, SHARES
from tests.conformance.differential.exchange import Ask
from tests.conformance.differential.known_errors import KNOWN_ERRORS, fails_where_refusal_is_due
from tests.conformance.differential.openstack import OpenStack
from tests.conformance.differential.ours import Ours

_NOWHERE: Final = "00000000-0000-0000-0000-0000000000ff"


def _provider(
    number: int,
    inventories: dict[str, int],
    *,
    parent: int | None = None,
    traits: tuple[str, ...] = (),
    shares_in: str | None = None,
) -> list[Ask]:
    uuid = PROVIDERS[number]
    body: dict[str, Any] = {"name": f"rp{number}", "uuid": uuid}
    if parent is not None:
        body["parent_provider_uuid"] = PROVIDERS[parent]
    held = {name: {"total": total} for name, total in inventories.items()}
    requests = [
        Ask("POST", "/resource_providers", body=body),
        _put(uuid, "inventories", 0, inventories=held),
        _put(uuid, "traits", 1, traits=list(traits)),
    ]
    if shares_in is not None:
        requests.append(_put(uuid, "aggregates", 2 if traits else 1, aggregates=[shares_in]))
    return requests


def _put(uuid: str, what: str, generation: int, **body: Any) -> Ask:
    body["resource_provider_generation"] = generation
    return Ask("PUT", f"/resource_providers/{uuid}/{what}", body=body)


def _candidates(**query: str) -> Ask:
    return Ask("GET", CANDIDATES, query=tuple(query.items()))


def _claim(provider: str, amount: int) -> Ask:
    body = {
        "allocations": {provider: {"resources": {"VCPU": amount}}},
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    return Ask("PUT", f"/allocations/{CONSUMERS[0]}", body=body)


_STORAGE: Final = _provider(2, {"DISK_GB": 9}, traits=(SHARES,), shares_in=AGGREGATES[0])
_TWO_HOSTS: Final = [
    *_provider(0, {"VCPU": 4}, shares_in=AGGREGATES[0]),
    *_provider(1, {"VCPU": 4}, shares_in=AGGREGATES[0]),
]
_TREE: Final = [*_provider(0, {"VCPU": 4}), *_provider(1, {"VCPU": 4}, parent=0, traits=("CUSTOM_A",))]

_CASES: Final[dict[str, list[list[Ask]]]] = {
    "shared_for_one_tree_only": [[*_TWO_HOSTS, *_STORAGE, _candidates(resources="DISK_GB:1", resources1="VCPU:1")]],
    "filters_of_a_group_without_resources": [
        [
            *_TREE,
            _candidates(resources1="VCPU:1", **{extra: value}, same_subtree="1,2", group_policy="none"),
        ]
        for extra, value in (("required2", "!CUSTOM_A"), ("member_of2", f"!{AGGREGATES[0]}"))
    ]
    + [
        [
            *_TREE,
            *_provider(2, {"VCPU": 4}, traits=("CUSTOM_A",)),
            _candidates(
                resources1="VCPU:1",
                required2="CUSTOM_A",
                in_tree2=PROVIDERS[2],
                same_subtree="1,2",
                group_policy="none",
            ),
        ]
    ],
    "amounts_add_up": [[*_TREE, _candidates(resources="VCPU:1", resources1="VCPU:1")]],
    "nested_provider_that_shares": [
        [
            *_provider(0, {"VCPU": 4}, shares_in=AGGREGATES[0]),
            *_provider(1, {"MEMORY_MB": 4}),
            *_provider(2, {"DISK_GB": 9}, parent=1, traits=(SHARES,), shares_in=AGGREGATES[0]),
            _candidates(resources="VCPU:1,DISK_GB:1"),
        ]
    ],
    "unknown_names_unnoticed": [
        [Ask("GET", "/resource_providers", query=(("in_tree", _NOWHERE), ("resources", "CUSTOM_NONE:1")))],
        [*_TREE, _candidates(resources1="VCPU:9", resources2="VCPU:1", required2="CUSTOM_NONE", group_policy="none")],
    ],
    "refused_claim_leaves_a_consumer": [[*_TREE, _claim(_NOWHERE, 1), _claim(PROVIDERS[0], 1)]],
    "same_uuid_other_spelling": [
        [*_TREE, _candidates(resources="VCPU:1", in_tree=PROVIDERS[0].replace("-", ""))],
        [*_TWO_HOSTS, _candidates(resources="VCPU:1", member_of=AGGREGATES[0].replace("-", ""))],
        [
            *_TREE,
            Ask(
                "POST",
                "/resource_providers",
                body={"name": "x", "uuid": PROVIDERS[3], "parent_provider_uuid": PROVIDERS[0].replace("-", "")},
            ),
        ],
        [*_TREE, _put(PROVIDERS[0], "aggregates", 1, aggregates=[f"{{{AGGREGATES[0]}}}"])],
    ],
    "reshaped_into_what_cannot_be": [
        [
            *_TREE,
            Ask(
                "POST",
                "/reshaper",
                body={
                    "inventories": {
                        PROVIDERS[0]: {
                            "resource_provider_generation": 1,
                            "inventories": {"VCPU": {"total": 4, "reserved": 5}},
                        }
                    },
                    "allocations": {},
                },
            ),
        ]
    ],
    "no_inventories_no_date": [
        [
            Ask("POST", "/resource_providers", body={"name": "rp0", "uuid": PROVIDERS[0]}),
            Ask("GET", f"/resource_providers/{PROVIDERS[0]}/inventories"),
        ]
    ],
}


def test_each_has_a_case() -> None:
    assert [error.name for error in KNOWN_ERRORS] == list(_CASES)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in _CASES.items() for case in cases])
def test_openstack_errs(ours: Ours, openstack: OpenStack, name: str, case: list[Ask]) -> None:
    error = next(error for error in KNOWN_ERRORS if error.name == name)
    *before, ask = case

    def differences() -> list[str]:
        ours.reset()
        openstack.reset()
        for each in (*NAMES, *before):
            found, _, _ = compare(each, ours, openstack)
            assert not found, each
        found, _, theirs = compare(ask, ours, openstack)
        assert not found or error.applies is None or error.applies(ask, theirs)
        return found

    with error.mended():
        assert not differences()
    assert differences(), "OpenStack has mended it: the entry can go"


def test_openstack_fails_where_refusal_is_due(ours: Ours, openstack: OpenStack) -> None:
    ours.reset()
    openstack.reset()
    ask = Ask("POST", "/resource_providers", raw=b'{"name": "\\ud800"}')
    _, mine, theirs = compare(ask, ours, openstack)
    assert (mine.status, theirs.status) == (400, 500)
    assert fails_where_refusal_is_due(ask, mine, theirs)
