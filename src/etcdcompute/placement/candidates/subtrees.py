"""Slots that must be in one subtree: the provider at its top is chosen first, which leaves plain choices.

Among the providers of such slots one is above all others, or the same. For each provider that can be this top, and
for each slot that can be the first one to take it, there is a case: the slots before it stay below the top, it takes
the top, the others take the top or what is below. The cases have no filling in common and leave none out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from etcdcompute.placement.candidates.topology import ProviderLike

P = TypeVar("P", bound=ProviderLike)
Choices = Sequence[Sequence[P]]


def cases(
    choices: Choices[P], subtrees: Sequence[Sequence[int]], possible: Callable[[Choices[P]], bool]
) -> Iterator[Choices[P]]:
    """Yield the cases for all subtrees at once; those that are not `possible` are not looked into."""
    if not subtrees:
        yield choices
        return
    open_cases = [_cases(choices, subtrees[0])]
    while open_cases:
        case = next(open_cases[-1], None)
        if case is None:
            open_cases.pop()
        elif possible(case):
            if len(open_cases) == len(subtrees):
                yield case
            else:
                open_cases.append(_cases(case, subtrees[len(open_cases)]))


def _cases(choices: Choices[P], slots: Sequence[int]) -> Iterator[Choices[P]]:
    for top in _tops(choices, slots):
        below: dict[int, list[P]] = {slot: [node for node in choices[slot] if _is_under(node, top)] for slot in slots}
        case = [below.get(slot, nodes) for slot, nodes in enumerate(choices)]
        for slot in slots:
            if top in below[slot]:
                yield [[top] if other == slot else nodes for other, nodes in enumerate(case)]
                case[slot] = [node for node in below[slot] if node is not top]
                if not case[slot]:
                    break


def _tops(choices: Choices[P], slots: Sequence[int]) -> list[P]:
    """Return the providers that some slot can take and that have a choice of every slot under them."""
    over: dict[P, set[int]] = {}
    for slot in slots:
        for node in choices[slot]:
            above: P | None = node
            while above is not None:
                over.setdefault(above, set()).add(slot)
                above = above.parent
    wanted = {node for slot in slots for node in choices[slot]}
    return [node for node, under in over.items() if node in wanted and len(under) == len(slots)]


def _is_under(node: P, top: P) -> bool:
    at: P | None = node
    while at is not None:
        if at is top:
            return True
        at = at.parent
    return False
