"""The small cloud that docs/graph-queries.md asks about: four hosts, two switches, a disk array, five instances.

    switch1  host1 (2 NUMA nodes)  host2 (2)     array1: 8,000 GB for host1, host2 and host3
    switch2  host3 (2)             host4 (1, and 4,000 GB of its own)

Switches and the array are providers that share through an aggregate, of which the hosts are members.
"""

from typing import Any, Final

from tests.functional.placement.graph_client import GraphClient, provider, uuid_of

_SHARING: Final = "MISC_SHARES_VIA_AGGREGATE"
_MEMBERS: Final = {
    "switch1": ("host1", "host2"),
    "switch2": ("host3", "host4"),
    "array1": ("host1", "host2", "host3"),
}
INSTANCES: Final = {
    "web1": ("6f3d0000-0000-4000-8000-000000000001", "shop", "anna"),
    "web2": ("6f3d0000-0000-4000-8000-000000000002", "shop", "anna"),
    "db1": ("6f3d0000-0000-4000-8000-000000000003", "shop", "ben"),
    "train1": ("6f3d0000-0000-4000-8000-000000000004", "research", "cleo"),
    "train2": ("6f3d0000-0000-4000-8000-000000000005", "research", "cleo"),
}
_CLAIMS: Final[dict[str, dict[str, dict[str, int]]]] = {
    "web1": {"host1_numa0": {"VCPU": 4, "MEMORY_MB": 4096}, "array1": {"DISK_GB": 500}},
    "web2": {"host2_numa0": {"VCPU": 4, "MEMORY_MB": 4096}, "array1": {"DISK_GB": 500}},
    "db1": {"host1_numa0": {"VCPU": 8, "MEMORY_MB": 12288}, "array1": {"DISK_GB": 4000}},
    "train1": {"host3_numa0": {"VCPU": 16, "MEMORY_MB": 8192}, "array1": {"DISK_GB": 1500}},
    "train2": {"host4_numa0": {"VCPU": 12, "MEMORY_MB": 16384, "PGPU": 2}, "host4": {"DISK_GB": 1000}},
}


def _aggregates(name: str) -> list[str]:
    return [uuid_of(f"aggregate of {each}") for each, members in _MEMBERS.items() if name == each or name in members]


def _numa(name: str, *traits: str, **more: Any) -> dict[str, Any]:
    inventories = {"VCPU": {"total": 8, "allocation_ratio": 2.0}, "MEMORY_MB": {"total": 16384}, **more}
    return provider(name, inventories=inventories, traits=["HW_NUMA_ROOT", *traits])


def _host(name: str, *numas: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return provider(name, *numas, aggregates=_aggregates(name), traits=["COMPUTE_NODE"], **fields)


TREES: Final = (
    *(
        provider(
            name,
            inventories={"NET_BW_EGR_KILOBIT_PER_SEC": {"total": 10_000_000}},
            traits=[_SHARING, "CUSTOM_SWITCH"],
            aggregates=_aggregates(name),
        )
        for name in ("switch1", "switch2")
    ),
    provider(
        "array1",
        inventories={"DISK_GB": {"total": 8000}},
        traits=[_SHARING, "STORAGE_DISK_SSD"],
        aggregates=_aggregates("array1"),
    ),
    _host("host1", _numa("host1_numa0"), _numa("host1_numa1", "CUSTOM_FAST_CLOCK")),
    _host("host2", _numa("host2_numa0"), _numa("host2_numa1")),
    _host("host3", _numa("host3_numa0"), _numa("host3_numa1")),
    _host("host4", _numa("host4_numa0", PGPU={"total": 4}), inventories={"DISK_GB": {"total": 4000}}),
)


def build(client: GraphClient) -> None:
    """Make it."""
    client.ask("PUT", "/traits/CUSTOM_LIQUID_COOLED", **{"openstack-api-version": "placement latest"})
    for tree in TREES:
        client.declare(tree)
    for name, (uuid, project, user) in INSTANCES.items():
        body = {
            "allocations": {uuid_of(each): {"resources": amounts} for each, amounts in _CLAIMS[name].items()},
            "consumer_generation": None,
            "project_id": project,
            "user_id": user,
            "consumer_type": "INSTANCE",
        }
        answer = client.ask("PUT", f"/allocations/{uuid}", body, **{"openstack-api-version": "placement latest"})
        assert answer.status == 204, answer.data
