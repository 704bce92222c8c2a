"""The search: a request in, candidates out, one at a time. Pure; nothing is kept between searches.

A candidate hangs on an *anchor*, the root of one tree. What it uses comes from that tree and from providers that
share with it: those with the sharing trait that have an aggregate in common with some member of the tree.

      anchor (root) ── numa0, numa1         tree: searched
        ╎ aggregate
      storage (shares)                      shared with the tree: searched too, for this anchor

A request is a number of *slots*, each to be filled by one provider: a group with a suffix is one slot, the group
without is one per resource class.

      request ─▶ anchors      the trees that may have what is hardest to find                   anchors.py
              ─▶ choices      per slot, the providers that can fill it, each by itself          slots.py
              ─▶ fillings     choices that go together: rules, subtrees, prospects, trying      filling.py

Most anchors are cheaper than that: a provider without children to which nothing is shared can only fill all slots
itself, and many of them are looked at in one go. Everything is generated lazily: `limit` bounds the work, not just
the answer.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, product
from operator import attrgetter
from typing import Generic, TypeVar

from etcdcompute.placement.candidates import filling
from etcdcompute.placement.candidates.effort import MOST_CANDIDATES, Effort, TooMany
from etcdcompute.placement.candidates.request import CandidateRequest, Candidates, ProviderSummary, Slot
from etcdcompute.placement.candidates.rules import rules_of
from etcdcompute.placement.candidates.slots import Chooser, Loners, Reach, fitting
from etcdcompute.placement.candidates.topology import ProviderLike, Searchable

P = TypeVar("P", bound=ProviderLike)
_root_of = attrgetter("root")


def find_candidates(topology: Searchable[P], request: CandidateRequest, effort: Effort | None = None) -> Candidates:
    """Return the candidates, at most `request.limit` of them, and the summaries of the trees that they use.

    TooMany where no limit keeps them from being more than an answer can hold; TooHard where the search is given up.
    """
    wanted = MOST_CANDIDATES + 1 if request.limit is None else min(request.limit, MOST_CANDIDATES + 1)
    found = list(islice(search(topology, request, effort), wanted))
    if len(found) > MOST_CANDIDATES:
        raise TooMany(
            f"There are more than {MOST_CANDIDATES} allocation candidates. Ask with a limit, or narrow the request."
        )
    slots = request.slots
    return Candidates(slots, found, _summaries(slots, found, nested=request.nested))


def _summaries(slots: Sequence[Slot], found: Sequence[tuple[P, ...]], *, nested: bool) -> list[ProviderSummary]:
    """Return the summaries of the trees in use, or, for those who do not know trees, of the providers in use."""
    giving = [number for number, slot in enumerate(slots) if slot.resources]
    if len(giving) < len(slots):
        found = [tuple(filling[number] for number in giving) for filling in found]
    used = chain.from_iterable(found)
    if not nested:
        return [node.summary() for node in dict.fromkeys(used)]
    roots = dict.fromkeys(map(_root_of, used))
    return [member.summary() for root in roots for member in root.tree()]


def search(topology: Searchable[P], request: CandidateRequest, effort: Effort | None = None) -> Iterator[tuple[P, ...]]:
    """Return each candidate as the providers that fill the request's slots."""
    trees: dict[str, P] = {}
    for group in request.groups:
        if group.in_tree is not None:
            member = topology.node(group.in_tree)
            if member is None:
                return iter(())
            trees[group.suffix] = member.root
    found = _Search(topology, request, trees, effort or Effort())
    return chain.from_iterable(map(found.under, topology.anchors(request, trees)))


class _Search(Generic[P]):
    """What is worked out once for all anchors."""

    def __init__(self, topology: Searchable[P], request: CandidateRequest, trees: dict[str, P], effort: Effort) -> None:
        self._effort = effort
        self._rules = rules_of(request)
        self._loners = Loners(request, trees)
        # Like slots have the same choices: those are picked once.
        choosers = [Chooser(slot, trees.get(slot.group.suffix)) for slot in self._rules.slots]
        self._choosers = list({chooser.key: chooser for chooser in choosers}.values())
        numbers = {chooser.key: number for number, chooser in enumerate(self._choosers)}
        self._chooser_of = [numbers[chooser.key] for chooser in choosers]
        self._sharing: dict[str, list[P]] = {}
        for node in topology.sharing_nodes():
            for aggregate in node.aggregates:
                self._sharing.setdefault(aggregate, []).append(node)
        plain = self._rules.independent and not self._sharing and all(chooser.plain for chooser in choosers)
        # Where that is all there is to it.
        self._amounts = [each for slot in self._rules.slots for each in slot.resources.items()] if plain else []
        # What came of shared providers alone, and the choices that it came of: other anchors have them as well.
        self._told: set[tuple[P, ...]] = set()
        self._exhausted: set[tuple[frozenset[P], ...]] = set()

    def under(self, roots: list[P]) -> Iterator[tuple[P, ...]]:
        """Return what some anchors have to offer."""
        loners = [root for root in roots if not root.children]
        if self._sharing:
            loners = [root for root in loners if self._sharing.keys().isdisjoint(root.aggregates)]
        slots = len(self._rules.slots)
        found = [(node,) * slots for node in self._loners.able(loners)]
        if len(loners) == len(roots):
            return iter(found)
        alone = set(loners)
        trees = [root for root in roots if root not in alone]
        below = self._plainly_below if self._amounts else self._below
        return chain(found, chain.from_iterable(map(below, trees)))

    def _plainly_below(self, root: P) -> Iterator[tuple[P, ...]]:
        tree = root.tree()
        return product(*[fitting(tree, name, amount) for name, amount in self._amounts])

    def _below(self, root: P) -> Iterator[tuple[P, ...]]:
        reach = Reach(root, self._sharing)
        picked = []
        for chooser in self._choosers:
            nodes = chooser.choices(reach)
            if not nodes:
                return iter(())
            picked.append(nodes)
        choices = [picked[number] for number in self._chooser_of]
        if self._sharing and reach.meets_sharing:
            return self._told_once(choices)
        return self._fill(choices)

    def _told_once(self, choices: Sequence[Sequence[P]]) -> Iterator[tuple[P, ...]]:
        """Yield the fillings, but those of shared providers alone only where no other anchor had them."""
        common = [tuple(node for node in nodes if node.shares) for nodes in choices]
        if not all(common):
            yield from self._fill(choices)
            return
        for slot, nodes in enumerate(choices):
            # The first slot that is filled by the anchor's own: shared before it, anything after it.
            own = [node for node in nodes if not node.shares]
            if own:
                yield from self._fill([*common[:slot], own, *choices[slot + 1 :]])
        key = tuple(map(frozenset, common))
        if key in self._exhausted:
            return
        self._exhausted.add(key)
        for each in self._fill(common):
            if each not in self._told:
                self._told.add(each)
                yield each

    def _fill(self, choices: Sequence[Sequence[P]]) -> Iterator[tuple[P, ...]]:
        if self._rules.independent:
            return product(*choices)
        return filling.fillings(self._rules, choices, self._effort)
