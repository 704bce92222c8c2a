"""The query for allocation candidates: from its parameters to a request."""

import re
from typing import Final

from etcdcompute.placement.api.exchange import Request, check_query
from etcdcompute.placement.api.problems import (
    QUERY_BAD_VALUE,
    QUERY_DUPLICATE_KEY,
    QUERY_MISSING_VALUE,
    Problem,
)
from etcdcompute.placement.api.query import (
    parse_in_tree,
    parse_member_of,
    parse_required,
    parse_resources,
    split_traits,
)
from etcdcompute.placement.api.schemas import allocation_candidate as schema
from etcdcompute.placement.candidates.request import CandidateRequest, RequestGroup

_GROUP_KEY = re.compile(r"(resources|required|member_of|in_tree)([a-zA-Z0-9_-]*)")
_LIMIT = re.compile(r"[1-9][0-9]*")
_POLICY = re.compile(r"none|isolate")
_MOST_DIGITS = 9
MOST_GROUPS: Final = 64
_SAME_SUBTREE_SINCE = 36
_FORBIDDEN_TRAITS_SINCE = 22


def read_candidate_query(request: Request) -> CandidateRequest:
    """Return what the query asks for, in the sense of the request's version; 400 says what is wrong with it."""
    check_query(request, schema.query(request.version))
    root_required = request.all("root_required")
    if len(root_required) > 1:
        raise Problem(400, "Query parameter 'root_required' may be specified only once.", code=QUERY_DUPLICATE_KEY)
    required, forbidden = split_traits(root_required[0], forbidding=True) if root_required else ([], set())
    if contradictory := sorted(set(required) & forbidden):
        raise Problem(
            400,
            f"Conflicting required and forbidden traits found in root_required: {', '.join(contradictory)}",
            code=QUERY_BAD_VALUE,
        )
    subtrees = _same_subtrees(request)
    groups = _groups(request)
    _check_groups(groups, subtrees, request.version)
    _check_size(groups, subtrees)
    policy = _first_of_form(request, "group_policy", _POLICY)
    if policy is None and sum(1 for group in groups if group.suffix) > 1:
        raise Problem(
            400,
            'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.',
        )
    return CandidateRequest(
        groups=groups,
        isolate=policy == "isolate",
        same_subtrees=subtrees,
        root_required=frozenset(required),
        root_forbidden=frozenset(forbidden),
        limit=_limit(request),
        nested=request.version >= 29,
    )


def _limit(request: Request) -> int | None:
    limit = _first_of_form(request, "limit", _LIMIT)
    # A number may have more digits than Python reads.
    return None if limit is None or len(limit) > _MOST_DIGITS else int(limit)


def _first_of_form(request: Request, key: str, form: re.Pattern[str]) -> str | None:
    """Return the first of a parameter's values, which is the one that counts; the schema has seen the last."""
    values = request.all(key)
    if values and not form.fullmatch(values[0]):
        raise Problem(400, f"Invalid query string parameters: {key} must be {form.pattern}. Got: {values[0]}")
    return values[0] if values else None


def _same_subtrees(request: Request) -> tuple[frozenset[str], ...]:
    subtrees = []
    for value in request.all("same_subtree"):
        suffixes = frozenset(suffix.strip() for suffix in value.split(","))
        if "" in suffixes:
            raise Problem(
                400,
                "Empty string (unsuffixed group) can not be specified in `same_subtree` ",
                code=QUERY_BAD_VALUE,
            )
        subtrees.append(suffixes)
    return tuple(subtrees)


def _groups(request: Request) -> tuple[RequestGroup, ...]:
    suffixes: dict[str, None] = {}
    for key, _ in request.query:
        form = _GROUP_KEY.fullmatch(key)
        if form is not None:
            suffixes[form[2]] = None
    groups = []
    for suffix in suffixes:
        # Each has to be right, and the last one counts.
        resources = [parse_resources(value) for value in request.all(f"resources{suffix}")]
        in_trees = [parse_in_tree(value) for value in request.all(f"in_tree{suffix}")]
        required, forbidden = parse_required(request, f"required{suffix}")
        member_of, forbidden_aggregates = parse_member_of(request, suffix)
        groups.append(
            RequestGroup(
                suffix=suffix,
                resources=resources[-1] if resources else {},
                required_traits=required,
                forbidden_traits=forbidden,
                member_of=member_of,
                forbidden_aggregates=forbidden_aggregates,
                in_tree=in_trees[-1] if in_trees else None,
            )
        )
    return tuple(groups)


def _check_size(groups: tuple[RequestGroup, ...], subtrees: tuple[frozenset[str], ...]) -> None:
    """Refuse what is more than a puzzle can have parts, while a search can still tell that it is one."""
    counts = {
        "groups": len(groups),
        "resource classes in a group": max((len(group.resources) for group in groups), default=0),
        "same_subtree parameters": len(subtrees),
    }
    for what, count in counts.items():
        if count > MOST_GROUPS:
            raise Problem(400, f"There are {count} {what}; at most {MOST_GROUPS} are served.", code=QUERY_BAD_VALUE)


def _check_groups(groups: tuple[RequestGroup, ...], subtrees: tuple[frozenset[str], ...], version: int) -> None:
    if version >= _SAME_SUBTREE_SINCE:
        _check_subtrees(groups, frozenset().union(*subtrees))
    else:
        _check_orphans(groups)
    if version < _FORBIDDEN_TRAITS_SINCE:
        return
    contradictory = sorted(
        f"required{group.suffix}: ({', '.join(sorted(alternatives))})"
        for group in groups
        for alternatives in group.required_traits
        if alternatives <= group.forbidden_traits
    )
    if contradictory:
        raise Problem(
            400,
            f"Conflicting required and forbidden traits found in the following traits keys: {', '.join(contradictory)}",
        )


def _check_subtrees(groups: tuple[RequestGroup, ...], in_subtrees: frozenset[str]) -> None:
    bare = [group.suffix for group in groups if not group.resources]
    if len(bare) == len(groups):
        raise Problem(400, "There must be at least one resources or resources[$S] parameter.", code=QUERY_MISSING_VALUE)
    alone = [suffix for suffix in bare if suffix not in in_subtrees]
    if alone:
        raise Problem(
            400,
            "Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - "
            f"{alone}.",
            code=QUERY_BAD_VALUE,
        )
    suffixes = [group.suffix for group in groups]
    unreal = sorted(in_subtrees - set(suffixes))
    if unreal:
        raise Problem(
            400,
            f"Real suffixes should be specified in `same_subtree`: {unreal} not found in {suffixes}.",
            code=QUERY_BAD_VALUE,
        )


def _check_orphans(groups: tuple[RequestGroup, ...]) -> None:
    bare = [group for group in groups if not group.resources]
    orphans = [f"required{group.suffix}" for group in bare if group.required_traits]
    if orphans:
        raise Problem(
            400,
            "All traits parameters must be associated with resources.  Found the following orphaned traits keys: "
            f"{', '.join(orphans)}",
        )
    orphans = [f"member_of{group.suffix}" for group in bare if group.member_of or group.forbidden_aggregates]
    if orphans:
        raise Problem(
            400,
            "All member_of parameters must be associated with resources. Found the following orphaned member_of keys: "
            f"{', '.join(orphans)}",
        )
    if bare:
        raise Problem(400, "All request groups must specify resources.")
    if not groups:
        raise Problem(400, "At least one request group (`resources` or `resources{$S}`) is required.")
