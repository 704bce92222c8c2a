"""What an explanation says. Values only; codes never change."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Why a provider, or a tree, is out."""

    UNKNOWN_NAME = "unknown_name"
    NOT_IN_TREE = "not_in_tree"
    NO_INVENTORY = "no_inventory"
    MISSING_TRAIT = "missing_trait"
    FORBIDDEN_TRAIT = "forbidden_trait"
    NOT_IN_AGGREGATE = "not_in_aggregate"
    IN_FORBIDDEN_AGGREGATE = "in_forbidden_aggregate"
    MIN_UNIT = "min_unit"
    MAX_UNIT = "max_unit"
    STEP_SIZE = "step_size"
    INSUFFICIENT_CAPACITY = "insufficient_capacity"
    ROOT_TRAIT = "root_trait"
    COMBINATION_EXCEEDS_CAPACITY = "combination_exceeds_capacity"
    GROUP_POLICY = "group_policy"
    SAME_SUBTREE = "same_subtree"


class Kind(StrEnum):
    """Whether it never fits, or is only full now."""

    FILTERED = "filtered"
    EXHAUSTED = "exhausted"


class Unit(StrEnum):
    """What is counted."""

    PROVIDERS = "providers"
    TREES = "trees"


@dataclass(frozen=True, slots=True)
class Sample:
    """One provider that a stage removed. Amounts, of the stage's class, are None for stages about something else.

    `largest_free` is the most that one claim could take now.
    """

    uuid: str
    name: str
    requested: int | None = None
    used: int | None = None
    capacity: int | None = None
    largest_free: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: how many there were before it, and are after it. `group` is a suffix, None for the whole request."""

    group: str | None
    code: Code
    subject: str
    before: int
    after: int
    unit: Unit
    kind: Kind
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that is lacking, and the provider that comes nearest to having it; amounts where it is a class's."""

    code: Code
    subject: str
    uuid: str
    requested: int | None = None
    largest_free: int | None = None


@dataclass(frozen=True, slots=True)
class Nearest:
    """A provider that lacks little; for the group without a suffix it stands for the tree below it."""

    uuid: str
    name: str
    misses: tuple[Miss, ...]


@dataclass(frozen=True, slots=True)
class GroupExplanation:
    """How a group alone fares: `fits` of `of` are left after all stages. `wanted` is the group in words."""

    group: str
    resources: Mapping[str, int]
    wanted: str
    unit: Unit
    of: int
    fits: int
    stages: tuple[Stage, ...]
    nearest: tuple[Nearest, ...]


@dataclass(frozen=True, slots=True)
class Relaxation:
    """How many would fit without one thing that is asked for: a parameter of the query, and what of its value."""

    group: str | None
    parameter: str
    subject: str
    fits: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request fits where it does. `fits` counts the trees that have a candidate, of `of` in all.

    `stages` are those that concern the whole request. With `exact` off the search for combinations was given up for
    some trees, which are counted as if they fitted.
    """

    unit: Unit
    of: int
    fits: int
    exact: bool
    groups: tuple[GroupExplanation, ...]
    stages: tuple[Stage, ...]
    relaxations: tuple[Relaxation, ...]
