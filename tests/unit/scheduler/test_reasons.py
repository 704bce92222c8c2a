"""The sentences for people whose instance fits nowhere."""

from collections.abc import Mapping

import pytest

from etcdcompute.placement.client import Inventory, ProviderSummary, ResourceSummary
from etcdcompute.scheduler.reasons import Wanted, explain, explain_unknown, find_roomy
from etcdcompute.scheduler.view import HostRecord, Hosts


def hosts(count: int = 3, *, dead: tuple[int, ...] = (), cordoned: tuple[int, ...] = ()) -> Hosts:
    numbers = range(1, count + 1)
    known = {f"u{number}": HostRecord(f"etcd{number}", number in cordoned) for number in numbers}
    return Hosts(known, frozenset(f"u{number}" for number in numbers if number not in dead))


def provider(traits: tuple[str, ...] = (), **free: int) -> ProviderSummary:
    resources = {name: ResourceSummary(amount + 3, 3) for name, amount in free.items()}
    return ProviderSummary(resources, frozenset(traits), None, None)


THREE = {
    "u1": provider(VCPU=2, MEMORY_MB=900),
    "u2": provider(VCPU=4, MEMORY_MB=100),
    "u3": provider(("COMPUTE_X",), VCPU=8, MEMORY_MB=100),
}


@pytest.mark.parametrize(
    ("wanted", "these", "summaries", "sentence"),
    [
        (
            Wanted({"VCPU": 64, "MEMORY_MB": 50}),
            hosts(),
            THREE,
            "no host fits VCPU:64, MEMORY_MB:50: of 3 hosts alive, VCPU 64 wanted, the largest free is 8 (etcd3)",
        ),
        (Wanted({"VCPU": 1}), hosts(0), {}, "no host fits VCPU:1: no compute host is registered yet"),
        (
            Wanted({"VCPU": 1}),
            hosts(2, dead=(1, 2)),
            THREE,
            "no host fits VCPU:1: 2 hosts registered, none alive (etcd1, etcd2)",
        ),
        (
            Wanted({"VCPU": 1}),
            hosts(2, dead=(1,), cordoned=(2,)),
            THREE,
            "no host fits VCPU:1: 1 host alive, all cordoned (etcd2)",
        ),
        (
            Wanted({"VCPU": 6}),
            hosts(cordoned=(3,)),
            THREE,
            "no host fits VCPU:6: of 2 hosts alive and not cordoned (1 cordoned), VCPU 6 wanted, "
            "the largest free is 4 (etcd2)",
        ),
        (
            Wanted({"VCPU": 64, "MEMORY_MB": 5000}),
            hosts(),
            THREE,
            "no host fits VCPU:64, MEMORY_MB:5000: of 3 hosts alive, VCPU 64 wanted, the largest free is 8 (etcd3); "
            "MEMORY_MB 5000 wanted, the largest free is 900 (etcd1)",
        ),
        (
            Wanted({"VCPU": 8, "MEMORY_MB": 900}),
            hosts(),
            THREE,
            "no host fits VCPU:8, MEMORY_MB:900: of 3 hosts alive, each resource is free somewhere, but not all on one "
            "host (VCPU on etcd3; MEMORY_MB on etcd1)",
        ),
        (Wanted({"VGPU": 1}), hosts(), THREE, "no host fits VGPU:1: of 3 hosts alive, none has VGPU"),
        (
            Wanted({"VCPU": 1}, ("COMPUTE_Y",)),
            hosts(),
            THREE,
            "no host fits VCPU:1, COMPUTE_Y: of 3 hosts alive, none has the trait COMPUTE_Y",
        ),
        (
            Wanted({"VCPU": 9}, ("COMPUTE_X",)),
            hosts(),
            THREE,
            "no host fits VCPU:9, COMPUTE_X: of 3 hosts alive, 1 with the wanted traits, VCPU 9 wanted, "
            "the largest free is 8 (etcd3)",
        ),
        (
            Wanted({"VCPU": 1}, (), ("COMPUTE_X",)),
            Hosts({"u3": HostRecord("etcd3", cordoned=False)}, frozenset({"u3"})),
            THREE,
            "no host fits VCPU:1, !COMPUTE_X: of 1 host alive, each has the forbidden trait COMPUTE_X",
        ),
        (
            Wanted({"VCPU": 1}),
            hosts(1),
            {"u1": provider(("COMPUTE_STATUS_DISABLED",), VCPU=8)},
            "no host fits VCPU:1: 1 host alive, all cordoned (etcd1)",
        ),
        (
            Wanted({"VCPU": 1}),
            hosts(1),
            {},
            "no host fits VCPU:1: of 1 host alive, none has VCPU",
        ),
        (
            Wanted({"VCPU": 1}),
            hosts(1),
            THREE,
            "no host fits VCPU:1: of 1 host alive, etcd1 has enough free now: trying again",
        ),
    ],
)
def test_the_sentence(wanted: Wanted, these: Hosts, summaries: Mapping[str, ProviderSummary], sentence: str) -> None:
    assert explain(wanted, these, summaries, {}) == sentence


@pytest.mark.parametrize(
    ("inventory", "limit"),
    [
        (Inventory(8, max_unit=2), "at most 2"),
        (Inventory(8, min_unit=4), "no less than 4"),
        (Inventory(8, step_size=2), "only multiples of 2"),
    ],
)
def test_a_limit_for_one_instance_is_named(inventory: Inventory, limit: str) -> None:
    wanted = Wanted({"VCPU": 3})
    roomy = find_roomy(wanted, hosts(), THREE)
    assert roomy == ("u2", "u3")
    assert explain(wanted, hosts(), THREE, {"u3": {"VCPU": inventory}}) == (
        f"no host fits VCPU:3: of 3 hosts alive, VCPU 3 wanted, but an instance may have {limit} on etcd3"
    )


def test_names_that_placement_does_not_know() -> None:
    wanted = Wanted({"VCPU": 1, "CUSTOM_LICENSE": 1}, ("CUSTOM_FAST",))
    refusal = "placement refused GET /allocation_candidates: "
    assert explain_unknown(wanted, refusal + "No such trait(s): CUSTOM_FAST.") == (
        f"no host fits {wanted}: placement knows no trait CUSTOM_FAST; correct it, or create it first"
    )
    assert "no resource class CUSTOM_LICENSE;" in explain_unknown(wanted, refusal + "Invalid class: CUSTOM_LICENSE")
    assert explain_unknown(wanted, refusal + "something else") == ""
