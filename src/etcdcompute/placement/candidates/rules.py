"""What the slots of a request have to do with each other: worked out once, used for every tree."""

from collections import Counter
from dataclasses import dataclass

from etcdcompute.placement.candidates.request import CandidateRequest, Slot

Demands = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that go beyond a single slot. Slots are told by their number.

    `demands`: of each slot, the classes that another one may want from the same provider, with the amounts;
    `contested` names them.
    `apart`: slots that need providers of their own. `families`: slots that compete one to one, those that are apart, or
    else like ones. `subtrees`: slots one of whose providers has to be above the
    others' (or the same). `together`: slots whose providers must have `traits`, alternatives each, between them.
    """

    slots: tuple[Slot, ...]
    contested: tuple[str, ...]
    demands: tuple[Demands, ...]
    apart: tuple[int, ...]
    families: tuple[tuple[int, ...], ...]
    subtrees: tuple[tuple[int, ...], ...]
    together: tuple[int, ...]
    traits: tuple[frozenset[str], ...]
    one_per_tree: bool

    @property
    def independent(self) -> bool:
        """Whether any choice for one slot goes with any choice for the others."""
        return not (self.contested or self.apart or self.subtrees or self.together or self.one_per_tree)


def rules_of(request: CandidateRequest) -> Rules:
    """Return the rules of a request."""
    slots = request.slots
    suffixed = tuple(number for number, slot in enumerate(slots) if slot.group.suffix)
    # Slots that are apart take nothing from each other.
    apart = suffixed if request.isolate and len(suffixed) > 1 else ()
    asking = Counter({name for number in apart for name in slots[number].resources})
    asking.update(name for slot in slots if not (apart and slot.group.suffix) for name in slot.resources)
    contested = tuple(name for name, count in asking.items() if count > 1)
    subtrees = dict.fromkeys(
        tuple(number for number in suffixed if slots[number].group.suffix in suffixes)
        for suffixes in request.same_subtrees
    )
    # One slot alone is asked for its traits when its choices are made.
    spread = tuple(
        number for number, slot in enumerate(slots) if not slot.group.suffix and len(slot.group.resources) > 1
    )
    traits = slots[spread[0]].group.required_traits if spread else ()
    demands = tuple(
        tuple((name, slot.resources[name]) for name in contested if name in slot.resources) for slot in slots
    )
    return Rules(
        slots=slots,
        contested=contested,
        demands=demands,
        apart=apart,
        families=(apart,) if apart else _like(demands),
        subtrees=tuple(numbers for numbers in subtrees if len(numbers) > 1),
        together=spread if traits else (),
        traits=traits,
        one_per_tree=not request.nested and len(slots) > 1,
    )


def _like(demands: tuple[Demands, ...]) -> tuple[tuple[int, ...], ...]:
    like: dict[Demands, list[int]] = {}
    for number, each in enumerate(demands):
        if each:
            like.setdefault(each, []).append(number)
    return tuple(tuple(numbers) for numbers in like.values() if len(numbers) > 1)
