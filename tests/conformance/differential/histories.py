"""Random histories: writes, most of them right for the state they find, and reads between them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from tests.conformance.differential.comparing import CANDIDATES
from tests.conformance.differential.deployments import (
    AGGREGATES,
    CLASSES,
    CONSUMERS,
    CUSTOM_CLASSES,
    CUSTOM_TRAITS,
    PROVIDERS,
    TRAITS,
    inventories,
    some_aggregates,
    some_traits,
)
from tests.conformance.differential.exchange import Ask, Service

_PROVIDERS: Final = PROVIDERS[:4]
_CONSUMERS: Final = CONSUMERS[:3]
_TYPES: Final = ("INSTANCE", "MIGRATION")
_OWNERS: Final = ("one", "two")
_UNKNOWN: Final = "00000000-0000-0000-0000-0000000000ff"


@dataclass(frozen=True)
class Step:
    """A request whose body holds Generations, to be looked up when its turn comes."""

    ask: Ask

    def ready(self, service: Service) -> Ask:
        """Return the request as it can be sent."""
        return replace(self.ask, body=_resolved(self.ask.body, service))


@dataclass(frozen=True)
class Generation:
    """The generation of a provider or consumer at the time, or one that is off; None where there is no such thing."""

    path: str
    key: str
    off: int = 0

    def now(self, service: Service) -> Any:
        """Look it up."""
        document = service.ask(Ask("GET", self.path)).document or {}
        known = document.get(self.key)
        return known if known is None and not self.off else (known or 0) + self.off


def _resolved(body: Any, service: Service) -> Any:
    if isinstance(body, Generation):
        return body.now(service)
    if isinstance(body, dict):
        return {key: _resolved(value, service) for key, value in body.items()}
    if isinstance(body, list):
        return [_resolved(value, service) for value in body]
    return body


# The last provider is not there in the beginning.
providers = st.sampled_from([*(_PROVIDERS[:3] * 5), *_PROVIDERS, _UNKNOWN])
consumers = st.sampled_from(_CONSUMERS)
classes = st.sampled_from([*(CLASSES[:2] * 5), "DISK_GB", "CUSTOM_GPU", "CUSTOM_NONE"])
off = st.sampled_from([0] * 12 + [-1, 1])
any_version = st.one_of(st.just(39), st.integers(0, 39))


@st.composite
def _provider_generation(draw: st.DrawFn, uuid: str) -> Generation:
    return Generation(f"/resource_providers/{uuid}", "generation", draw(off))


@st.composite
def _create(draw: st.DrawFn) -> Ask:
    uuid = draw(st.sampled_from([*([_PROVIDERS[3]] * 4), *_PROVIDERS]))
    version = draw(any_version)
    body: dict[str, Any] = {"name": f"rp{draw(st.sampled_from([uuid[-1], uuid[-1], uuid[-1], '0']))}", "uuid": uuid}
    if version >= 14:
        body |= draw(_parents)
    return Ask("POST", "/resource_providers", version, body=body)


_parents: Final[st.SearchStrategy[dict[str, Any]]] = st.sampled_from(
    [{}, {}, {"parent_provider_uuid": None}, *({"parent_provider_uuid": uuid} for uuid in (*_PROVIDERS, _UNKNOWN))]
)


@st.composite
def _update(draw: st.DrawFn) -> Ask:
    uuid = draw(providers)
    version = draw(st.one_of(st.sampled_from([39, 37, 36]), st.integers(0, 39)))
    body: dict[str, Any] = {"name": f"rp{draw(st.sampled_from([uuid[-1], uuid[-1], 'x', '1']))}"}
    if version >= 14:
        body |= draw(_parents)
    return Ask("PUT", f"/resource_providers/{uuid}", version, body=body)


@st.composite
def _delete_provider(draw: st.DrawFn) -> Ask:
    return Ask("DELETE", f"/resource_providers/{draw(providers)}", draw(any_version))


@st.composite
def _put_inventories(draw: st.DrawFn) -> Ask:
    uuid = draw(providers)
    return Ask("PUT", f"/resource_providers/{uuid}/inventories", draw(any_version), body=draw(_of_one_provider(uuid)))


@st.composite
def _put_inventory(draw: st.DrawFn) -> Ask:
    uuid, name = draw(providers), draw(classes)
    body = {**draw(inventories()), "resource_provider_generation": draw(_provider_generation(uuid))}
    return Ask("PUT", f"/resource_providers/{uuid}/inventories/{name}", draw(any_version), body=body)


@st.composite
def _post_inventory(draw: st.DrawFn) -> Ask:
    uuid, name = draw(providers), draw(classes)
    body = {**draw(inventories()), "resource_class": name}
    if draw(st.booleans()):
        body["resource_provider_generation"] = draw(_provider_generation(uuid))
    return Ask("POST", f"/resource_providers/{uuid}/inventories", draw(any_version), body=body)


@st.composite
def _delete_inventory(draw: st.DrawFn) -> Ask:
    which = draw(st.sampled_from(["", *(f"/{name}" for name in (*CLASSES[:3], "CUSTOM_NONE"))]))
    return Ask("DELETE", f"/resource_providers/{draw(providers)}/inventories{which}", draw(any_version))


@st.composite
def _put_traits(draw: st.DrawFn) -> Ask:
    uuid = draw(providers)
    names = [*draw(some_traits), *draw(st.sampled_from([[]] * 9 + [["CUSTOM_NONE"]]))]
    body = {"traits": names, "resource_provider_generation": draw(_provider_generation(uuid))}
    return Ask("PUT", f"/resource_providers/{uuid}/traits", draw(any_version), body=body)


@st.composite
def _delete_traits(draw: st.DrawFn) -> Ask:
    return Ask("DELETE", f"/resource_providers/{draw(providers)}/traits", draw(any_version))


@st.composite
def _put_aggregates(draw: st.DrawFn) -> Ask:
    uuid, version = draw(providers), draw(any_version)
    body: Any = draw(some_aggregates)
    if version >= 19:
        body = {"aggregates": body, "resource_provider_generation": draw(_provider_generation(uuid))}
    return Ask("PUT", f"/resource_providers/{uuid}/aggregates", version, body=body)


@st.composite
def _allocations(draw: st.DrawFn, version: int, *, least: int = 1) -> Any:
    resources = st.dictionaries(classes, st.sampled_from([1, 1, 1, 2, 2, 3, 8]), min_size=1, max_size=2)
    chosen = draw(st.dictionaries(providers, resources, min_size=least, max_size=2))
    if version < 12:
        return [{"resource_provider": {"uuid": uuid}, "resources": each} for uuid, each in chosen.items()]
    return {uuid: {"resources": each} for uuid, each in chosen.items()}


@st.composite
def _of_one_consumer(draw: st.DrawFn, consumer: str, version: int, *, least: int = 1) -> dict[str, Any]:
    body: dict[str, Any] = {"allocations": draw(_allocations(version, least=least))}
    if version >= 8:
        body |= {"project_id": draw(st.sampled_from(_OWNERS)), "user_id": draw(st.sampled_from(_OWNERS))}
    if version >= 28:
        body["consumer_generation"] = Generation(f"/allocations/{consumer}", "consumer_generation", draw(off))
    if version >= 38:
        body["consumer_type"] = draw(st.sampled_from(_TYPES))
    return body


@st.composite
def _put_allocations(draw: st.DrawFn) -> Ask:
    consumer, version = draw(consumers), draw(any_version)
    least = 0 if version >= 28 and draw(st.integers(0, 4)) == 4 else 1
    body = draw(_of_one_consumer(consumer, version, least=least))
    return Ask("PUT", f"/allocations/{consumer}", version, body=body)


@st.composite
def _post_allocations(draw: st.DrawFn) -> Ask:
    version = draw(st.one_of(st.just(39), st.integers(13, 39)))
    named = draw(st.lists(consumers, min_size=1, max_size=2, unique=True))
    return Ask("POST", "/allocations", version, body={each: draw(_of_many(each, version)) for each in named})


@st.composite
def _of_many(draw: st.DrawFn, consumer: str, version: int) -> dict[str, Any]:
    return draw(_of_one_consumer(consumer, version, least=draw(st.sampled_from([0, 1, 1]))))


@st.composite
def _reshape(draw: st.DrawFn) -> Ask:
    version = draw(st.one_of(st.just(39), st.integers(30, 39)))
    uuids = draw(st.lists(providers, max_size=2, unique=True))
    named = draw(st.lists(consumers, max_size=2, unique=True))
    return Ask(
        "POST",
        "/reshaper",
        version,
        body={
            "inventories": {uuid: draw(_of_one_provider(uuid)) for uuid in uuids},
            "allocations": {each: draw(_of_many(each, version)) for each in named},
        },
    )


@st.composite
def _of_one_provider(draw: st.DrawFn, uuid: str) -> dict[str, Any]:
    held = draw(st.dictionaries(classes, inventories(), max_size=3))
    return {"resource_provider_generation": draw(_provider_generation(uuid)), "inventories": held}


@st.composite
def _delete_allocations(draw: st.DrawFn) -> Ask:
    return Ask("DELETE", f"/allocations/{draw(consumers)}", draw(any_version))


@st.composite
def _name(draw: st.DrawFn) -> Ask:
    """Draw a change of the names of traits and classes."""
    version = draw(any_version)
    method = draw(st.sampled_from(["PUT", "DELETE"]))
    if draw(st.booleans()):
        return Ask(method, f"/traits/{draw(st.sampled_from([*CUSTOM_TRAITS, 'HW_CPU_X86_AVX']))}", version)
    name = draw(st.sampled_from([*CUSTOM_CLASSES, "CUSTOM_OTHER", "VCPU"]))
    renamed = {"name": draw(st.sampled_from([*CUSTOM_CLASSES, "CUSTOM_OTHER"]))}
    if version < 7 and method == "PUT":
        return Ask(method, f"/resource_classes/{name}", version, body=renamed)
    if draw(st.integers(0, 4)) == 4:
        return Ask("POST", "/resource_classes", version, body=renamed)
    return Ask(method, f"/resource_classes/{name}", version)


@st.composite
def _filtered_list(draw: st.DrawFn) -> Ask:
    version = draw(any_version)
    pairs: list[tuple[str, str]] = []
    for since, key, values in _FILTERS:
        if version >= since and draw(st.integers(0, 3)) == 3:
            pairs.append((key, draw(values)))
    return Ask("GET", "/resource_providers", version, tuple(pairs))


def _joined(names: tuple[str, ...], marks: str = "") -> st.SearchStrategy[str]:
    one = st.tuples(st.sampled_from(["", *marks]), st.sampled_from(names)).map("".join)
    return st.lists(one, min_size=1, max_size=2, unique=True).map(",".join)


_FILTERS: Final[tuple[tuple[int, str, st.SearchStrategy[str]], ...]] = (
    (0, "name", st.sampled_from(["rp0", "rp1", "rpx"])),
    (0, "uuid", providers),
    (3, "member_of", st.sampled_from([AGGREGATES[0], f"in:{AGGREGATES[0]},{AGGREGATES[1]}", f"in:{AGGREGATES[2]}"])),
    (32, "member_of", st.sampled_from([f"!{AGGREGATES[0]}", f"!in:{AGGREGATES[0]},{AGGREGATES[1]}"])),
    (4, "resources", st.sampled_from(["VCPU:1", "VCPU:2,MEMORY_MB:1", "DISK_GB:3", "CUSTOM_GPU:1", "CUSTOM_NONE:1"])),
    (14, "in_tree", providers),
    (18, "required", _joined(TRAITS)),
    (22, "required", _joined((*TRAITS, "CUSTOM_NONE"), "!")),
    (39, "required", _joined(TRAITS).map(lambda names: f"in:{names}")),
)


@st.composite
def _read(draw: st.DrawFn) -> Ask:
    of_provider = [f"/resource_providers/{draw(providers)}{what}" for what in _PARTS]
    path = draw(st.sampled_from([*of_provider, f"/allocations/{draw(consumers)}", "/resource_classes"]))
    return Ask("GET", path, draw(any_version))


_PARTS: Final = ("", "/inventories", "/inventories/VCPU", "/traits", "/aggregates", "/usages", "/allocations")


@st.composite
def _usages(draw: st.DrawFn) -> Ask:
    version = draw(st.one_of(st.just(39), st.integers(9, 39)))
    pairs = [("project_id", draw(st.sampled_from(_OWNERS)))]
    if draw(st.booleans()):
        pairs.append(("user_id", draw(st.sampled_from(_OWNERS))))
    if version >= 38 and draw(st.booleans()):
        pairs.append(("consumer_type", draw(st.sampled_from([*_TYPES, "all", "unknown", "NONE"]))))
    return Ask("GET", "/usages", version, tuple(pairs))


@st.composite
def _list_traits(draw: st.DrawFn) -> Ask:
    pairs = [
        ("name", draw(st.sampled_from(["in:CUSTOM_A,CUSTOM_B,NONE", "startswith:CUSTOM_", "startswith:HW_CPU_X"])))
    ]
    if draw(st.booleans()):
        pairs.append(("associated", draw(st.sampled_from(["true", "false", "True"]))))
    return Ask("GET", "/traits", draw(any_version), tuple(pairs))


_WRITES: Final[tuple[Callable[[], st.SearchStrategy[Ask]], ...]] = (
    _create,
    _update,
    _delete_provider,
    _put_inventories,
    _put_inventories,
    _put_inventory,
    _post_inventory,
    _delete_inventory,
    _put_traits,
    _delete_traits,
    _put_aggregates,
    _put_allocations,
    _put_allocations,
    _put_allocations,
    _post_allocations,
    _delete_allocations,
    _reshape,
    _name,
)
_READS: Final[tuple[Callable[[], st.SearchStrategy[Ask]], ...]] = (_filtered_list, _read, _usages, _list_traits)


def beginning() -> list[Ask]:
    """Return what every history begins with: two roots and a child, which have something."""
    requests = []
    for number, (uuid, parent) in enumerate(zip(_PROVIDERS, (None, _PROVIDERS[0], None), strict=False)):
        body = {"name": f"rp{number}", "uuid": uuid, "parent_provider_uuid": parent}
        held = {"VCPU": {"total": 4 + number}, "MEMORY_MB": {"total": 3, "allocation_ratio": 1.5}}
        requests += [
            Ask("POST", "/resource_providers", body=body),
            Ask(
                "PUT",
                f"/resource_providers/{uuid}/inventories",
                body={"resource_provider_generation": 0, "inventories": held},
            ),
        ]
    return requests


writes: Final = st.one_of(*(each() for each in _WRITES))
reads: Final = st.one_of(*(each() for each in _READS))
steps: Final = st.one_of(*(each() for each in (*_WRITES, *_READS))).map(Step)


def whole_state() -> list[Ask]:
    """Return the requests that show all that a history can have changed."""
    return [
        Ask("GET", "/resource_providers"),
        *(Ask("GET", f"/resource_providers/{uuid}{part}") for uuid in _PROVIDERS for part in _PARTS if part),
        *(Ask("GET", f"/allocations/{uuid}") for uuid in _CONSUMERS),
        *(Ask("GET", "/usages", query=(("project_id", owner),)) for owner in _OWNERS),
        Ask("GET", "/traits", query=(("name", "startswith:CUSTOM_"),)),
        Ask("GET", "/resource_classes"),
        *(Ask("GET", CANDIDATES, query=query) for query in _EVERYWHERE),
    ]


_EVERYWHERE: Final = (
    (("resources", "VCPU:1"),),
    (("resources", "VCPU:1,MEMORY_MB:1"),),
    (("resources1", "VCPU:1"), ("resources2", "MEMORY_MB:1"), ("group_policy", "none"), ("same_subtree", "1,2")),
)
