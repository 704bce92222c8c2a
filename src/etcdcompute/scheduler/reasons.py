"""Why no host fits, in one sentence that a person can act on: pure, from what placement says about the providers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etcdcompute.placement.client import Inventory, ProviderSummary
from etcdcompute.scheduler.rank import find_host
from etcdcompute.scheduler.view import Hosts

CODE_NO_HOST = "no_host"

NO_HOSTS = "no compute host is registered yet"
NONE_ALIVE = "{known} registered, none alive ({names})"
ALL_CORDONED = "{alive} alive, all cordoned ({names})"
NO_TRAIT = "none has the trait {trait}"
FORBIDDEN_TRAIT = "each has the forbidden trait {trait}"
TRAITS_TOGETHER = "none has the wanted traits together"
NO_CLASS = "none has {resource}"
TOO_LITTLE = "{resource} {wanted} wanted, the largest free is {free} ({host})"
NOT_TOGETHER = "each resource is free somewhere, but not all on one host ({where})"
ONE_LIMIT = "{resource} {wanted} wanted, but an instance may have {limit} on {host}"
JUST_MISSED = "{host} has enough free now: trying again"

_NAMES_SHOWN = 5
DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an instance asks for."""

    resources: Mapping[str, int]
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def __str__(self) -> str:
        # In the order the user gave them, which is the usual VCPU, MEMORY_MB, DISK_GB.
        parts = [f"{name}:{amount}" for name, amount in self.resources.items()]
        parts += [*self.required, *(f"!{name}" for name in self.forbidden)]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class _Room:
    """What one host has: free amounts by resource class (absent: it has no such inventory), and traits."""

    name: str
    free: Mapping[str, int]
    traits: frozenset[str]


def explain(
    wanted: Wanted,
    hosts: Hosts,
    summaries: Mapping[str, ProviderSummary],
    limits: Mapping[str, Mapping[str, Inventory]],
) -> str:
    """Return the sentence.

    `summaries` are those of all providers that have anything free; a host that is in none has nothing. `limits` are
    the inventories, by host uuid, of hosts that `find_roomy` returned.
    """
    return f"no host fits {wanted}: {_explain(wanted, hosts, summaries, limits)}"


def explain_unknown(wanted: Wanted, refusal: str) -> str:
    """Return the sentence for a request that placement refused because it does not know a name; "" if another reason.

    `refusal` is what placement said; it names what it does not know.
    """
    words = set(re.findall(r"[A-Z0-9_]+", refusal))
    resources = [name for name in wanted.resources if name in words]
    traits = [name for name in (*wanted.required, *wanted.forbidden) if name in words]
    if traits:
        return f"no host fits {wanted}: placement knows no trait {', '.join(traits)}; correct it, or create it first"
    if resources:
        listed = ", ".join(resources)
        return f"no host fits {wanted}: placement knows no resource class {listed}; correct it, or create it first"
    return ""


def find_roomy(wanted: Wanted, hosts: Hosts, summaries: Mapping[str, ProviderSummary]) -> tuple[str, ...]:
    """Return the hosts that have enough free of everything, judged by the sums alone, and the traits."""
    rooms = _compute_rooms(_taking(hosts), hosts, summaries)
    return tuple(uuid for uuid, room in rooms.items() if _has_traits(room, wanted) and _has_room(room, wanted))


def _explain(
    wanted: Wanted,
    hosts: Hosts,
    summaries: Mapping[str, ProviderSummary],
    limits: Mapping[str, Mapping[str, Inventory]],
) -> str:
    if not hosts.known:
        return NO_HOSTS
    alive = [uuid for uuid in hosts.known if uuid in hosts.alive]
    if not alive:
        names = _names(host.name for host in hosts.known.values())
        return NONE_ALIVE.format(known=_count(len(hosts.known)), names=names)
    rooms = _compute_rooms(_taking(hosts), hosts, summaries)
    rooms = {uuid: room for uuid, room in rooms.items() if DISABLED_TRAIT not in room.traits}
    if not rooms:
        names = _names(hosts.known[uuid].name for uuid in alive)
        return ALL_CORDONED.format(alive=_count(len(alive)), names=names)
    cordoned = len(alive) - len(rooms)
    those = f"of {_count(len(rooms))} alive" + (f" and not cordoned ({cordoned} cordoned)" if cordoned else "")
    return f"{those}, {_explain_rooms(wanted, rooms, limits)}"


def _explain_rooms(wanted: Wanted, rooms: Mapping[str, _Room], limits: Mapping[str, Mapping[str, Inventory]]) -> str:
    """Say what is in the way on the hosts that take instances; there is at least one."""
    with_traits = {uuid: room for uuid, room in rooms.items() if _has_traits(room, wanted)}
    if not with_traits:
        return _explain_traits(wanted, rooms)
    prefix = "" if len(with_traits) == len(rooms) else f"{len(with_traits)} with the wanted traits, "
    short = [
        sentence
        for resource, amount in wanted.resources.items()
        if (sentence := _explain_resource(resource, amount, with_traits))
    ]
    if short:
        return prefix + "; ".join(short)
    roomy = [uuid for uuid, room in with_traits.items() if _has_room(room, wanted)]
    if not roomy:
        return prefix + _explain_apart(wanted, with_traits)
    return prefix + _explain_limits(wanted, rooms, roomy, limits)


def _explain_traits(wanted: Wanted, rooms: Mapping[str, _Room]) -> str:
    missing = [trait for trait in wanted.required if not any(trait in room.traits for room in rooms.values())]
    present = [trait for trait in wanted.forbidden if all(trait in room.traits for room in rooms.values())]
    sentences = [NO_TRAIT.format(trait=trait) for trait in missing]
    sentences += [FORBIDDEN_TRAIT.format(trait=trait) for trait in present]
    return "; ".join(sentences) or TRAITS_TOGETHER


def _explain_resource(resource: str, amount: int, rooms: Mapping[str, _Room]) -> str:
    """Say that no host has enough of one resource; "" where one has."""
    best = max(rooms.values(), key=lambda room: room.free.get(resource, -1))
    free = best.free.get(resource)
    if free is None:
        return NO_CLASS.format(resource=resource)
    if free >= amount:
        return ""
    return TOO_LITTLE.format(resource=resource, wanted=amount, free=free, host=best.name)


def _explain_apart(wanted: Wanted, rooms: Mapping[str, _Room]) -> str:
    where = []
    for resource, amount in wanted.resources.items():
        names = _names(room.name for room in rooms.values() if room.free.get(resource, 0) >= amount)
        where.append(f"{resource} on {names}")
    return NOT_TOGETHER.format(where="; ".join(where))


def _explain_limits(
    wanted: Wanted,
    rooms: Mapping[str, _Room],
    roomy: list[str],
    limits: Mapping[str, Mapping[str, Inventory]],
) -> str:
    for uuid in roomy:
        for resource, amount in wanted.resources.items():
            inventory = limits.get(uuid, {}).get(resource)
            limit = _broken_limit(amount, inventory) if inventory else ""
            if limit:
                return ONE_LIMIT.format(resource=resource, wanted=amount, limit=limit, host=rooms[uuid].name)
    return JUST_MISSED.format(host=rooms[roomy[0]].name)


def _broken_limit(amount: int, inventory: Inventory) -> str:
    if amount > inventory.max_unit:
        return f"at most {inventory.max_unit}"
    if amount < inventory.min_unit:
        return f"no less than {inventory.min_unit}"
    if amount % inventory.step_size:
        return f"only multiples of {inventory.step_size}"
    return ""


def _taking(hosts: Hosts) -> list[str]:
    return [uuid for uuid in hosts.known if hosts.takes_instances(uuid)]


def _compute_rooms(uuids: list[str], hosts: Hosts, summaries: Mapping[str, ProviderSummary]) -> dict[str, _Room]:
    """Gather each host's providers; of a class that several of them have, the largest free counts."""
    free: dict[str, dict[str, int]] = {uuid: {} for uuid in uuids}
    traits: dict[str, frozenset[str]] = dict.fromkeys(uuids, frozenset())
    for provider, summary in summaries.items():
        host = find_host((provider,), summaries, hosts)
        if host is None or host not in free:
            continue
        traits[host] |= summary.traits
        for resource, known in summary.resources.items():
            room = max(0, known.capacity - known.used)
            free[host][resource] = max(free[host].get(resource, 0), room)
    return {uuid: _Room(hosts.known[uuid].name, free[uuid], traits[uuid]) for uuid in uuids}


def _has_traits(room: _Room, wanted: Wanted) -> bool:
    return room.traits.issuperset(wanted.required) and room.traits.isdisjoint(wanted.forbidden)


def _has_room(room: _Room, wanted: Wanted) -> bool:
    return all(room.free.get(resource, 0) >= amount for resource, amount in wanted.resources.items())


def _count(number: int) -> str:
    return f"{number} host" if number == 1 else f"{number} hosts"


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _NAMES_SHOWN
    return ", ".join(ordered[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
