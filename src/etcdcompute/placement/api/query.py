"""The values of query parameters: resources, required, member_of, in_tree."""

from collections.abc import Iterable

from etcdcompute.placement.api.exchange import Request, is_uuid, normal_uuid
from etcdcompute.placement.api.problems import Problem

_FORBIDDEN_TRAITS_SINCE = 22
_REPEATED_MEMBER_OF_SINCE = 24
_FORBIDDEN_AGGREGATES_SINCE = 32
_ANY_TRAITS_SINCE = 39

Alternatives = tuple[frozenset[str], ...]


def parse_resources(value: str) -> dict[str, int]:
    """Return {class: amount} of "CLASS:AMOUNT,…"."""
    form = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not value.strip():
        raise Problem(400, f"{form}empty string.")
    resources = {}
    for part in value.split(","):
        name, colon, amount = part.partition(":")
        if not colon or ":" in amount:
            raise Problem(400, f"{form}{part}.")
        try:
            number = int(amount)
        except ValueError:
            raise Problem(400, f"Requested resource {name} expected positive integer amount. Got: {amount}.") from None
        if number < 1:
            raise Problem(400, f"Requested resource {name} requires amount >= 1. Got: {number}.")
        resources[name] = number
    return resources


def parse_required(request: Request, key: str) -> tuple[Alternatives, frozenset[str]]:
    """Return required traits, a conjunction of alternatives, and forbidden traits."""
    any_of = request.version >= _ANY_TRAITS_SINCE
    values = request.all(key)
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values if any_of else values[-1:]:
        if value.startswith("in:"):
            if not any_of:
                raise _bad_traits(
                    f"The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since microversion 1.39. Got: {value}"
                )
            required.append(_parse_any_of(value))
        else:
            wanted, unwanted = split_traits(value, forbidding=request.version >= _FORBIDDEN_TRAITS_SINCE)
            required.extend(frozenset({name}) for name in wanted)
            forbidden |= unwanted
    return tuple(required), frozenset(forbidden)


def _parse_any_of(value: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in value[3:].split(","))
    if "" in names:
        raise _bad_traits(
            "Expected 'required' parameter value of the form: in:HW_CPU_X86_VMX,CUSTOM_MAGIC. "
            f"Got an empty trait in: {value}"
        )
    if any(name.startswith("!") for name in names):
        raise _bad_traits(
            f"The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support forbidden traits. Got: {value}"
        )
    return names


def split_traits(value: str, *, forbidding: bool) -> tuple[list[str], set[str]]:
    """Return the wanted and the unwanted (marked by !) traits of "A,!B"."""
    names = [name.strip() for name in value.split(",")]
    forbidden = {name.lstrip("!") for name in names if name.startswith("!")}
    form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if forbidding else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
    if "" in names or "" in forbidden:
        raise _bad_traits(f"Expected 'required' parameter value of the form: {form}. Got an empty trait in: {value}")
    if forbidden and not forbidding:
        raise _bad_traits(f"Expected 'required' parameter value of the form: {form}. Got: {value}")
    return [name for name in names if not name.startswith("!")], forbidden


def _bad_traits(detail: str) -> Problem:
    return Problem(400, f"Invalid query string parameters: {detail}")


def parse_member_of(request: Request, suffix: str = "") -> tuple[Alternatives, frozenset[str]]:
    """Return wanted aggregates, a conjunction of alternatives, and unwanted aggregates."""
    key = f"member_of{suffix}"
    values = request.all(key)
    if len(values) > 1 and request.version < _REPEATED_MEMBER_OF_SINCE:
        raise Problem(400, f"Multiple {key} parameters are not supported")
    wanted: list[frozenset[str]] = []
    unwanted: set[str] = set()
    for value in values:
        positive = value.removeprefix("!")
        if "," in value and not positive.startswith("in:"):
            raise Problem(
                400,
                "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid "
                f"microversion. Got: {value}",
            )
        uuids = _aggregates(positive.removeprefix("in:").split(","))
        if positive is value or positive == value:
            wanted.append(uuids)
        elif request.version < _FORBIDDEN_AGGREGATES_SINCE:
            raise Problem(400, f"Forbidden {key} parameters are not supported in the specified microversion")
        else:
            unwanted |= uuids
    return tuple(wanted), frozenset(unwanted)


def _aggregates(values: Iterable[str]) -> frozenset[str]:
    uuids = set()
    for value in values:
        if not value or not is_uuid(value):
            raise Problem(
                400,
                "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). "
                f"Got: {value}",
            )
        uuids.add(normal_uuid(value))
    return frozenset(uuids)


def parse_in_tree(value: str) -> str:
    """Return the uuid of a provider."""
    if not is_uuid(value.strip()):
        raise Problem(
            400,
            f"Invalid query string parameters: Expected 'in_tree' parameter to be a format of uuid. Got: {value}",
        )
    return normal_uuid(value.strip())
