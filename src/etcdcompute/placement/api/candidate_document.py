"""The answer about candidates, as bytes: what is the same in many places is written once, and put together.

An answer can have tens of thousands of candidates. Those whose slots are shared out in the same pattern (all to one
provider; the first two to one, the third to another; …) differ in uuids only: the pattern is described with marks in
place of uuids, and written with each candidate's own. Most of a summary's text is kept with the summary, which lives
until the provider changes.
"""

import re
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from itertools import chain, combinations, repeat
from operator import is_
from typing import Any, Final

import msgspec

from etcdcompute.placement.candidates.request import (
    AllocationRequest,
    Candidates,
    HasUuid,
    ProviderSummary,
    Slot,
    allocation_request,
)
from etcdcompute.placement.graph.standard import is_custom

_BY_UUID_SINCE: Final = 12
_TRAITS_SINCE: Final = 17
_ALL_CLASSES_SINCE: Final = 27
_TREES_SINCE: Final = 29
_MAPPINGS_SINCE: Final = 34

# No class and no suffix has such brackets.
_MARK: Final = re.compile(r"<(\d+)>")
_FEW_SLOTS: Final = 8
# How many texts to join at once: what fits into a processor's cache is joined three times as fast.
_PIECE: Final = 100

Filling = tuple[HasUuid, ...]


def encode(candidates: Candidates, version: int) -> bytes:
    """Return the answer as a client of that version knows it."""
    pieces = [b'{"allocation_requests":[']
    pieces += _joined(_requests(candidates.slots, candidates.fillings, version))
    pieces.append(b'],"provider_summaries":{')
    pieces += _summaries(candidates, version)
    pieces.append(b"}}")
    return b"".join(pieces)


def _joined(texts: list[str]) -> Iterator[bytes]:
    for begin in range(0, len(texts), _PIECE):
        if begin:
            yield b","
        yield ",".join(texts[begin : begin + _PIECE]).encode()


def _requests(slots: Sequence[Slot], fillings: Sequence[Filling], version: int) -> list[str]:
    texts = [""] * len(fillings)
    for numbers in _by_pattern(len(slots), fillings):
        pattern = _pattern(fillings[numbers[0]])
        described = _describe(allocation_request(slots, [f"<{slot}>" for slot in pattern]), version)
        uuids = {slot: [fillings[number][slot].uuid for number in numbers] for slot in set(pattern)}
        # Every second part is a mark.
        columns: list[Iterable[str]] = [
            uuids[int(part)] if place % 2 else repeat(part)
            for place, part in enumerate(_MARK.split(msgspec.json.encode(described).decode()))
        ]
        for number, text in zip(numbers, map("".join, zip(*columns, strict=False)), strict=False):
            texts[number] = text
    return texts


def _by_pattern(slots: int, fillings: Sequence[Filling]) -> Iterable[list[int]]:
    """Return the numbers of the fillings, those with the same pattern together."""
    keys: Iterable[Hashable]
    if slots == 1:
        keys = repeat(None, len(fillings))
    elif slots <= _FEW_SLOTS:
        # Which slots have the same provider, two by two: three times as fast, where there are few.
        columns = list(zip(*fillings, strict=True))
        keys = zip(*(map(is_, one, other) for one, other in combinations(columns, 2)), strict=True)
    else:
        keys = map(_pattern, fillings)
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        found[key].append(number)
    return found.values()


def _pattern(filling: Filling) -> tuple[int, ...]:
    """Return, of each slot, the first one that has the same provider."""
    first: dict[HasUuid, int] = {}
    return tuple(first.setdefault(node, slot) for slot, node in enumerate(filling))


def _describe(candidate: AllocationRequest, version: int) -> dict[str, Any]:
    if version < _BY_UUID_SINCE:
        return {
            "allocations": [
                {"resource_provider": {"uuid": uuid}, "resources": resources}
                for uuid, resources in candidate.allocations.items()
            ]
        }
    document: dict[str, Any] = {
        "allocations": {uuid: {"resources": resources} for uuid, resources in candidate.allocations.items()}
    }
    if version >= _MAPPINGS_SINCE:
        document["mappings"] = candidate.mappings
    return document


def _summaries(candidates: Candidates, version: int) -> Iterator[bytes]:
    """Yield the summaries, some to a piece."""
    summaries = candidates.summaries
    if not summaries:
        return
    if version < _TREES_SINCE:
        all_classes = version >= _ALL_CLASSES_SINCE
        asked = {name for slot in candidates.slots for name in slot.resources}
        texts = [
            b',"%b":{"resources":%b' % (each.uuid.encode(), _resources(each, each.capacities if all_classes else asked))
            for each in summaries
        ]
    else:
        texts = [each.text or _keep_text(each) for each in summaries]
    if version < _TRAITS_SINCE:
        ends = [b"}"] * len(texts)
    else:
        # Many providers have the same traits.
        traits = {
            names: b',"traits":%b}' % msgspec.json.encode(_sorted(names))
            for names in {each.traits for each in summaries}
        }
        ends = [traits[each.traits] for each in summaries]
    # The first has nothing before it.
    texts[0] = texts[0][1:]
    for begin in range(0, len(texts), _PIECE):
        piece = slice(begin, begin + _PIECE)
        yield b"".join(chain.from_iterable(zip(texts[piece], ends[piece], strict=True)))


def _keep_text(summary: ProviderSummary) -> bytes:
    """Return, and keep, the text of a summary behind another, but for its traits.

    Those may be many, and are the same for many providers.
    """
    parent = b'"%b"' % summary.parent_uuid.encode() if summary.parent_uuid else b"null"
    summary.text = b',"%b":{"parent_provider_uuid":%b,"root_provider_uuid":"%b","resources":%b' % (
        summary.uuid.encode(),
        parent,
        summary.root_uuid.encode(),
        _resources(summary, summary.capacities),
    )
    return summary.text


def _resources(summary: ProviderSummary, shown: Container[str]) -> bytes:
    return msgspec.json.encode(
        {
            name: {"capacity": capacity, "used": used}
            for name, (capacity, used) in summary.resources.items()
            if name in shown
        }
    )


def _sorted(traits: Iterable[str]) -> list[str]:
    return sorted(traits, key=lambda name: (is_custom(name), name))
