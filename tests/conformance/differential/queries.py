"""Random queries for allocation candidates, most of them right for their version."""

from typing import Final

from hypothesis import strategies as st

from tests.conformance.differential.budget import about
from tests.conformance.differential.comparing import CANDIDATES
from tests.conformance.differential.deployments import AGGREGATES, CLASSES, PROVIDERS, TRAITS, Deployment, deployments
from tests.conformance.differential.exchange import Ask

_NOWHERE: Final = "00000000-0000-0000-0000-0000000000ff"
_VERSIONS: Final = st.one_of(
    st.just(39), st.sampled_from([39, 36, 35, 34, 33, 31, 29, 28, 26, 25]), st.integers(10, 39)
)
_NUMBERED: Final = ("1", "2", "3")
_NAMED: Final = ("_A", "2", "-c")
Pairs = list[tuple[str, str]]


@st.composite
def candidate_queries(draw: st.DrawFn, deployment: Deployment) -> Ask:
    """Draw a query about a deployment, mostly for what one of its trees has."""
    version = draw(_VERSIONS)
    tree = draw(st.sampled_from([tree for tree in deployment.trees if tree] or [(CLASSES,)]))
    pairs: Pairs = []
    suffixes = draw(_suffixes(version))
    granular = [suffix for suffix in suffixes if suffix]
    bare = set(granular) & draw(_bare(granular, version))
    for suffix in suffixes:
        if suffix not in bare:
            most = 3 if not suffix and len(granular) < 3 else 2
            pairs.append((f"resources{suffix}", draw(_resources(tree if suffix else (_all_of(tree),), most))))
        pairs += draw(_filters(suffix, version, deployment.size))
    if len(granular) > 1 or (version >= 25 and draw(_rarely)):
        pairs.append(("group_policy", draw(st.sampled_from(["none", "none", "isolate"]))))
    if version >= 36 and granular and (bare or draw(st.booleans())):
        pairs += draw(_subtrees(granular, sorted(bare)))
    if version >= 35 and draw(_rarely):
        pairs.append(("root_required", draw(_traits(forbidding=True))))
    if version >= 16 and draw(_sometimes):
        pairs.append(("limit", str(draw(st.integers(1, 6)))))
    return Ask("GET", CANDIDATES, version, tuple(draw(st.permutations(pairs)) if draw(_rarely) else pairs))


_hardly_ever: Final = st.integers(0, 49).map(lambda number: number == 49)
_rarely: Final = st.integers(0, 7).map(lambda number: number == 7)
_sometimes: Final = st.integers(0, 3).map(lambda number: number == 3)


@st.composite
def _suffixes(draw: st.DrawFn, version: int) -> list[str]:
    if version < 25:
        return [""]
    names = draw(st.sampled_from([_NUMBERED, _NAMED])) if version >= 33 else _NUMBERED
    count = draw(st.sampled_from([0, 0, 1, 1, 2, 2, 2, 3]))
    return [*([""] if count == 0 or draw(st.booleans()) else []), *names[:count]]


@st.composite
def _bare(draw: st.DrawFn, granular: list[str], version: int) -> set[str]:
    """Draw groups that ask for no resources."""
    if version < 36 or len(granular) < 2 or not draw(_sometimes):
        return set()
    return set(draw(st.lists(st.sampled_from(granular), min_size=1, max_size=len(granular) - 1)))


@st.composite
def _subtrees(draw: st.DrawFn, granular: list[str], bare: list[str]) -> Pairs:
    pairs = []
    for number in range(draw(st.sampled_from([1, 1, 1, 2]))):
        members = set(draw(st.lists(st.sampled_from(granular), min_size=1, unique=True)))
        members |= set(bare) if number == 0 else set()
        pairs.append(("same_subtree", ",".join(sorted(members))))
    return pairs


def _all_of(tree: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(sorted({name for classes in tree for name in classes}))


@st.composite
def _resources(draw: st.DrawFn, providers: tuple[tuple[str, ...], ...], most: int) -> str:
    known = (
        (*CLASSES, *(["CUSTOM_NONE"] if draw(_rarely) else [])) if draw(_rarely) else draw(st.sampled_from(providers))
    )
    names = draw(st.lists(st.sampled_from(known), min_size=1, max_size=most, unique=True))
    return ",".join(f"{name}:{draw(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 2, 3]))}" for name in names)


@st.composite
def _filters(draw: st.DrawFn, suffix: str, version: int, size: int) -> Pairs:
    pairs: Pairs = []
    if version >= 17 and draw(_rarely):
        pairs.append((f"required{suffix}", draw(_traits(forbidding=version >= 22))))
        if version >= 39 and draw(_sometimes):
            pairs.append((f"required{suffix}", draw(_any_traits())))
    if version >= 39 and draw(_rarely):
        pairs.append((f"required{suffix}", draw(_any_traits())))
    if version >= 21 and draw(_rarely):
        for _ in range(draw(st.sampled_from([1, 1, 2])) if version >= 24 else 1):
            pairs.append((f"member_of{suffix}", draw(_member_of(forbidding=version >= 32))))
    if version >= 31 and draw(_rarely):
        pairs.append((f"in_tree{suffix}", draw(st.sampled_from([*PROVIDERS[:size], _NOWHERE]))))
    return pairs


@st.composite
def _traits(draw: st.DrawFn, *, forbidding: bool) -> str:
    names = draw(st.sampled_from([[name] for name in TRAITS] + [["CUSTOM_A", "CUSTOM_B"]] * 2))
    names = ["CUSTOM_NONE"] if draw(_hardly_ever) else names
    marks = st.sampled_from(["", "!", "!"]) if forbidding else st.just("")
    return ",".join(f"{draw(marks)}{name}" for name in names)


@st.composite
def _any_traits(draw: st.DrawFn) -> str:
    return "in:" + ",".join(draw(st.lists(st.sampled_from(TRAITS), min_size=1, max_size=3, unique=True)))


@st.composite
def _member_of(draw: st.DrawFn, *, forbidding: bool) -> str:
    mark = draw(st.sampled_from(["", "", "!"])) if forbidding else ""
    uuids = draw(st.lists(st.sampled_from(AGGREGATES), min_size=1, max_size=2, unique=True))
    several = "in:" if len(uuids) > 1 or draw(st.booleans()) else ""
    return f"{mark}{several}{','.join(uuids)}"


@st.composite
def cases(draw: st.DrawFn) -> tuple[Deployment, list[Ask]]:
    """Draw a deployment and queries about it."""
    deployment = draw(deployments())
    return deployment, draw(about(20, candidate_queries(deployment)))
