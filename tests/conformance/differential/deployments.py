"""Random deployments, as the requests that build them."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from hypothesis import strategies as st

from tests.conformance.differential.exchange import Ask

CLASSES: Final = ("VCPU", "MEMORY_MB", "DISK_GB", "SRIOV_NET_VF", "CUSTOM_GPU")
CUSTOM_CLASSES: Final = ("CUSTOM_GPU",)
CUSTOM_TRAITS: Final = ("CUSTOM_A", "CUSTOM_B", "CUSTOM_C")
TRAITS: Final = (*CUSTOM_TRAITS, "HW_CPU_X86_AVX")
SHARES: Final = "MISC_SHARES_VIA_AGGREGATE"
AGGREGATES: Final = tuple(str(UUID(int=0xA0 + number)) for number in range(3))
LARGEST: Final = 7
PROVIDERS: Final = tuple(str(UUID(int=0x100 + number)) for number in range(LARGEST + 2))
CONSUMERS: Final = tuple(str(UUID(int=0xC00 + number)) for number in range(6))

NAMES: Final = (
    *(Ask("PUT", f"/traits/{name}") for name in CUSTOM_TRAITS),
    *(Ask("PUT", f"/resource_classes/{name}") for name in CUSTOM_CLASSES),
)


@dataclass(frozen=True)
class Deployment:
    """The requests that make it, and per tree what classes each of its providers has: for queries that find some."""

    size: int
    requests: tuple[Ask, ...]
    trees: tuple[tuple[tuple[str, ...], ...], ...] = ()


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an inventory, mostly a plain one."""
    inventory: dict[str, Any] = {"total": draw(st.integers(2, 8))}
    for key, values in _INVENTORY.items():
        if draw(st.integers(0, 11)) == 11:
            inventory[key] = draw(values)
    return inventory


_INVENTORY: Final = {
    "reserved": st.sampled_from([0, 1, 1, 1, 2, 2, 9]),
    "min_unit": st.integers(1, 3),
    "max_unit": st.integers(1, 4),
    "step_size": st.integers(1, 3),
    "allocation_ratio": st.sampled_from([0.5, 0.7, 1.1, 1.5, 2.0, 3.0, 16.0]),
}
some_aggregates = st.sampled_from([(), (), (), (0,), (0,), (1,), (0, 1), (2,), (1, 2)]).map(
    lambda numbers: [AGGREGATES[number] for number in numbers]
)
some_traits = st.lists(st.sampled_from(TRAITS), unique=True, max_size=3)


@dataclass
class _Provider:
    parent: int | None
    classes: tuple[str, ...]
    shares: bool = False


@st.composite
def _flat(draw: st.DrawFn) -> list[_Provider]:
    return [_Provider(None, ("VCPU", "MEMORY_MB", "DISK_GB")) for _ in range(draw(st.integers(1, 5)))]


@st.composite
def _numa(draw: st.DrawFn) -> list[_Provider]:
    providers: list[_Provider] = []
    for _ in range(draw(st.integers(1, 2))):
        root = len(providers)
        providers.append(_Provider(None, ("DISK_GB",)))
        for _ in range(draw(st.integers(1, 2))):
            cell = len(providers)
            providers.append(_Provider(root, ("VCPU", "MEMORY_MB")))
            if draw(st.booleans()):
                providers.append(_Provider(cell, draw(st.sampled_from([("SRIOV_NET_VF",), ("CUSTOM_GPU",)]))))
    return providers[:LARGEST]


@st.composite
def _any_forest(draw: st.DrawFn) -> list[_Provider]:
    providers: list[_Provider] = []
    for number in range(draw(st.integers(1, LARGEST))):
        parent = draw(st.sampled_from([None, None, *range(number)]))
        classes = draw(st.lists(st.sampled_from(CLASSES), unique=True, max_size=3))
        providers.append(_Provider(parent, tuple(classes), shares=draw(st.integers(0, 5)) == 5))
    return providers


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Draw a deployment: providers, what they have, what is claimed of it."""
    providers = draw(st.one_of(_flat(), _numa(), _any_forest()))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        if len(providers) < LARGEST:
            providers.append(_Provider(None, draw(st.sampled_from([("DISK_GB",), ("DISK_GB", "VCPU")])), shares=True))
    requests: list[Ask] = []
    claimable: list[tuple[str, str, int]] = []
    for number, provider in enumerate(providers):
        uuid = PROVIDERS[number]
        requests.append(_create(number, provider.parent))
        held = {name: draw(inventories()) for name in provider.classes}
        if held:
            requests.append(_put(uuid, "inventories", inventories=held, resource_provider_generation=0))
            claimable += [(uuid, name, inventory["total"]) for name, inventory in held.items()]
        generation = 1 if held else 0
        traits = sorted({*draw(some_traits), *([SHARES] if provider.shares else [])})
        if traits:
            requests.append(_put(uuid, "traits", traits=traits, resource_provider_generation=generation))
            generation += 1
        aggregates = draw(some_aggregates)
        if aggregates:
            requests.append(_put(uuid, "aggregates", aggregates=aggregates, resource_provider_generation=generation))
    if claimable:
        requests += draw(_claims(claimable))
    return Deployment(len(providers), tuple(requests), _trees(providers))


def _trees(providers: list[_Provider]) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Return the classes of each tree's providers; what shares counts as of every tree."""
    roots: list[int] = []
    for number, provider in enumerate(providers):
        roots.append(number if provider.parent is None else roots[provider.parent])
    return tuple(
        tuple(each.classes for each, of in zip(providers, roots, strict=True) if each.classes and of == root)
        + tuple(each.classes for each in providers if each.classes and each.shares)
        for root in sorted(set(roots))
    )


@st.composite
def _claims(draw: st.DrawFn, claimable: list[tuple[str, str, int]]) -> list[Ask]:
    requests = []
    for consumer in CONSUMERS[: draw(st.sampled_from([0, 1, 2]))]:
        allocations: dict[str, Any] = {}
        for uuid, name, total in draw(st.lists(st.sampled_from(claimable), min_size=1, max_size=2, unique=True)):
            resources = allocations.setdefault(uuid, {"resources": {}})["resources"]
            resources[name] = draw(st.sampled_from([1, 1, 2, total]))
        body = {
            "allocations": allocations,
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        requests.append(Ask("PUT", f"/allocations/{consumer}", body=body))
    return requests


def _create(number: int, parent: int | None) -> Ask:
    body: dict[str, Any] = {"name": f"rp{number}", "uuid": PROVIDERS[number]}
    if parent is not None:
        body["parent_provider_uuid"] = PROVIDERS[parent]
    return Ask("POST", "/resource_providers", body=body)


def _put(uuid: str, what: str, **body: Any) -> Ask:
    return Ask("PUT", f"/resource_providers/{uuid}/{what}", body=body)
