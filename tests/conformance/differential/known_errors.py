"""Where OpenStack's placement 16.0.0 contradicts its own documents, as far as random requests have found.

Each entry says why the answer is wrong, to which requests that can happen, and how OpenStack's code would have to be
put right. A difference is forgiven only where OpenStack's answer, so mended, is the same as ours: ours is never
unchecked. `test_known_errors.py` shows each one on a case of its own, so that an entry goes when OpenStack mends it.
"""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

from tests.conformance.differential.comparing import CANDIDATES
from tests.conformance.differential.exchange import Answer, Ask
from tests.conformance.differential.quiet import quiet

with quiet():
    import sqlalchemy
    import webob
    from placement import util
    from placement.db.sqlalchemy import models
    from placement.handlers import inventory as inventories
    from placement.handlers import reshaper
    from placement.handlers import util as consumer_util
    from placement.objects import allocation_candidate, research_context, resource_provider
    from placement.objects import consumer as consumers
    from placement.objects import trait as traits

_PROVIDERS: Any = models.ResourceProvider.__table__


@dataclass(frozen=True)
class KnownError:
    """An error of OpenStack's: a name, the argument, when it can show, and the code put right for a while.

    One that writes are affected by has no condition: OpenStack is asked with it mended from the first request on.
    """

    name: str
    reason: str
    mended: Callable[[], AbstractContextManager[None]]
    applies: Callable[[Ask, Answer], bool] | None = None


@contextlib.contextmanager
def all_mended(errors: Iterable[KnownError]) -> Iterator[None]:
    """Put all of the errors right for a while."""
    with contextlib.ExitStack() as stack:
        for error in errors:
            stack.enter_context(error.mended())
        yield


def fails_where_refusal_is_due(ask: Ask, ours: Answer, theirs: Answer) -> bool:
    """Whether OpenStack fails on what ours refuses: 500 is no answer that any document has.

    Queries for candidates are left out: on some that are right it fails, too.
    """
    return theirs.status == 500 and 400 <= ours.status < 500 and ask.path != CANDIDATES


def _groups(ask: Ask) -> dict[str, set[str]]:
    """Return the classes that each group of a query for candidates asks for, by suffix."""
    found: dict[str, set[str]] = {}
    for key, value in ask.query:
        for name in ("resources", "required", "member_of", "in_tree"):
            if key.startswith(name):
                classes = found.setdefault(key.removeprefix(name), set())
                if name == "resources":
                    classes |= {part.partition(":")[0] for part in value.split(",")}
    return found


def _shared_and_granular(ask: Ask, theirs: Answer) -> bool:
    asked = _groups(ask)
    return ask.path == CANDIDATES and "" in asked and len(asked) > 1


@contextlib.contextmanager
def _anchors_kept() -> Iterator[None]:
    original: Any = allocation_candidate._alloc_candidates_multiple_providers
    request: Any = allocation_candidate.AllocationRequest
    equal = request.__eq__

    def with_anchor(self: Any, other: Any) -> bool:
        return bool(equal(self, other)) and self.anchor_root_provider_uuid == other.anchor_root_provider_uuid

    def keep(*args: Any) -> list[Any]:
        with patch.object(request, "__eq__", with_anchor):
            return list(original(*args))

    with patch.object(allocation_candidate, "_alloc_candidates_multiple_providers", keep):
        yield


def _without_resources(ask: Ask, theirs: Answer) -> bool:
    return ask.path == CANDIDATES and any(suffix and not classes for suffix, classes in _groups(ask).items())


@contextlib.contextmanager
def _filters_kept() -> Iterator[None]:
    original: Any = research_context.get_provider_ids_matching

    def matching(group: Any) -> Any:
        if group.resources:
            return original(group)
        allowed, forbidden = research_context.get_provider_ids_for_traits_and_aggs(group)
        if allowed is None:
            return []
        found = research_context.get_providers_with_root(group.context, allowed, forbidden)
        return [pair for pair in found if group.tree_root_id in (None, pair[1])]

    with patch.object(research_context, "get_provider_ids_matching", matching):
        yield


def _class_in_two_groups(ask: Ask, theirs: Answer) -> bool:
    asked = [name for classes in _groups(ask).values() for name in classes]
    return ask.path == CANDIDATES and len(asked) > len(set(asked)) and ("group_policy", "none") not in ask.query


@contextlib.contextmanager
def _amounts_kept() -> Iterator[None]:
    context: Any = research_context.RequestWideSearchContext
    with patch.object(context, "copy_arr_if_needed", staticmethod(copy.copy)):
        yield


def _fails(ask: Ask, theirs: Answer) -> bool:
    return ask.path == CANDIDATES and theirs.status == 500


@contextlib.contextmanager
def _roots_found() -> Iterator[None]:
    original: Any = allocation_candidate._build_provider_summaries

    def build(context: Any, request: Any, ids: Any, _: Any) -> None:
        query = sqlalchemy.select(_PROVIDERS.c.root_provider_id).where(_PROVIDERS.c.id.in_(ids))
        roots = {row[0] for row in context.session.execute(query)}
        original(context, request, roots, traits.get_traits_by_provider_tree(context, roots))

    with patch.object(allocation_candidate, "_build_provider_summaries", build):
        yield


def _finds_nothing(ask: Ask, theirs: Answer) -> bool:
    listing = ask.path == "/resource_providers" and ask.method == "GET"
    return (listing or ask.path == CANDIDATES) and theirs.status == 200 and not any(theirs.document.values())


@contextlib.contextmanager
def _names_checked() -> Iterator[None]:
    found: Any = allocation_candidate.AllocationCandidates.get_by_requests
    listed: Any = resource_provider.get_all_by_filters

    def find(context: Any, asked: Any, wide: Any, **kwargs: Any) -> Any:
        for group in asked.values():
            _check_names(context, group.resources, (*group.required_traits, group.forbidden_traits))
        _check_names(context, (), (wide.anchor_required_traits or (), wide.anchor_forbidden_traits or ()))
        return found(context, asked, wide, **kwargs)

    def list_(context: Any, filters: Any) -> Any:
        wanted, unwanted = filters.get("required_traits", ()), filters.get("forbidden_traits", ())
        _check_names(context, filters.get("resources", ()), (*wanted, unwanted))
        return listed(context, filters)

    with (
        patch.object(allocation_candidate.AllocationCandidates, "get_by_requests", find),
        patch.object(resource_provider, "get_all_by_filters", list_),
    ):
        yield


def _check_names(context: Any, classes: Iterable[str], named: Iterable[Iterable[str]]) -> None:
    for name in classes:
        context.rc_cache.id_from_string(name)
    for names in named:
        for name in names:
            context.trait_cache.id_from_string(name)


@contextlib.contextmanager
def _no_consumer_left() -> Iterator[None]:
    original: Any = consumer_util.ensure_consumer

    def ensure(context: Any, uuid: str, *args: Any) -> Any:
        consumers.delete_consumers_if_no_allocations(context, [uuid])
        return original(context, uuid, *args)

    with patch.object(consumer_util, "ensure_consumer", ensure):
        yield


@contextlib.contextmanager
def _uuids_tidied() -> Iterator[None]:
    in_tree: Any = util.normalize_in_tree_qs_params
    member_of: Any = util.normalize_member_of_qs_param
    extract: Any = util.extract_json

    def read(body: Any, schema: Any) -> Any:
        data = extract(body, schema)
        if isinstance(data, list):
            return [_tidy(uuid) for uuid in data]
        for key in ("aggregates", "parent_provider_uuid"):
            value = data.get(key)
            if value is not None:
                data[key] = [_tidy(uuid) for uuid in value] if isinstance(value, list) else _tidy(value)
        return data

    with (
        patch.object(util, "normalize_in_tree_qs_params", lambda value: _tidy(in_tree(value))),
        patch.object(
            util,
            "normalize_member_of_qs_param",
            lambda value: tuple({_tidy(uuid) for uuid in uuids} for uuids in member_of(value)),
        ),
        patch.object(util, "extract_json", read),
    ):
        yield


def _tidy(uuid: str) -> str:
    return str(UUID(uuid))


@contextlib.contextmanager
def _inventories_checked() -> Iterator[None]:
    make: Any = inventories.make_inventory_object

    def make_checked(provider: Any, name: str, **data: Any) -> Any:
        made = make(provider, name, **data)
        if made.capacity < 0:
            raise webob.exc.HTTPBadRequest(f"{name}: the reserved value is greater than total")
        return made

    checked = SimpleNamespace(**{**vars(inventories), "make_inventory_object": make_checked})
    with patch.object(reshaper, "inventory", checked):
        yield


@contextlib.contextmanager
def _always_dated() -> Iterator[None]:
    original: Any = inventories._serialize_inventories

    def serialize(*args: Any) -> Any:
        output, modified = original(*args)
        return output, modified or datetime.now(UTC)

    with patch.object(inventories, "_serialize_inventories", serialize):
        yield


KNOWN_ERRORS = (
    KnownError(
        "shared_for_one_tree_only",
        "Where the group without a suffix is wholly served by a sharing provider, that is found for each tree it "
        "shares with, but kept for one of them: requests are equal whatever tree they hang on. Combined with a group "
        "that has a suffix, the candidates of all other trees are lost. 1.25: each allocation request is satisfied by "
        "a tree and/or providers that share with it; which other trees there are has no say in it.",
        _anchors_kept,
        _shared_and_granular,
    ),
    KnownError(
        "filters_of_a_group_without_resources",
        "A group without resources that only forbids (traits, aggregates) finds no provider at all, since an empty "
        "set means both unfiltered and nothing left; and its in_tree is ignored, since it is applied with resources. "
        "1.36: a group in same_subtree need not have resources; 1.31: in_tree<N> restricts the providers of group N.",
        _filters_kept,
        _without_resources,
    ),
    KnownError(
        "amounts_add_up",
        "Where the same class is asked for in two groups and group_policy is not none, the amounts of one candidate "
        "are added to an object that other candidates use, too: these ask for more than was asked for, or are taken "
        "for too big and left out.",
        _amounts_kept,
        _class_in_two_groups,
    ),
    KnownError(
        "nested_provider_that_shares",
        "A provider that shares and is not the root of its tree makes the request fail with 500 (KeyError) where its "
        "own tree cannot give all that is asked for: summaries are made for roots only.",
        _roots_found,
        _fails,
    ),
    KnownError(
        "unknown_names_unnoticed",
        "A query that names a class or trait which does not exist is answered with 200 and nothing where another part "
        "of it was looked at before and finds nothing; so the same query is right or wrong by what is in the database. "
        "1.4: a class that does not exist is a 400; 1.18: so is a trait.",
        _names_checked,
        _finds_nothing,
    ),
    KnownError(
        "refused_claim_leaves_a_consumer",
        "A claim that names a provider which does not exist, or one of nothing, leaves a consumer without allocations "
        "behind. Nobody sees it, but the next claim is refused with 409 for its consumer_generation: 1.28 has it null "
        "where there are no allocations for the consumer.",
        _no_consumer_left,
    ),
    KnownError(
        "same_uuid_other_spelling",
        "A uuid without dashes, in braces or as a URN is taken for one, and then compared letter by letter: an "
        "aggregate so spelt has no members, a tree no root, a parent does not exist. The names of consumers and new "
        "providers are tidied first. The reference speaks of uuids, not of their spelling.",
        _uuids_tidied,
    ),
    KnownError(
        "reshaped_into_what_cannot_be",
        "The reshaper takes inventories of which more is reserved than there is, so that their capacity is negative; "
        "every other write refuses them. 1.26 and the reference: reserved has to be less than or equal to total.",
        _inventories_checked,
    ),
    KnownError(
        "no_inventories_no_date",
        "Inventories that are none come with cache-control and without last-modified. 1.15: the current time where "
        "nothing in the database has one, as all other empty lists show.",
        _always_dated,
    ),
)
# Mended for all requests of a check.
STANDING = tuple(error for error in KNOWN_ERRORS if error.applies is None)
