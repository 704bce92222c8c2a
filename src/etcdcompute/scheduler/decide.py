"""What is to be done about one instance: pure, from what the view knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from etcdcompute.scheduler.view import AssignmentRecord, InstanceRecord


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it should be, or it is the agent's turn."""


@dataclass(frozen=True, slots=True)
class Place:
    """It has no host: find one."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Its agent has not been told of this generation: raise (or set) the assignment's."""

    host: str
    revision: int  # of the assignment that is to be replaced
    generation: int


@dataclass(frozen=True, slots=True)
class RemoveKeys:
    """It is marked as deleted and has no host: free what was claimed, then remove its keys."""


@dataclass(frozen=True, slots=True)
class ReportInvalid:
    """Its document does not parse: say so in its status, and leave everything else alone."""

    message: str
    revision: int  # of the instance's document


Step = Nothing | Place | Relay | RemoveKeys | ReportInvalid


def decide(
    instance: InstanceRecord | None, assignments: Mapping[str, AssignmentRecord], reported_revision: int
) -> Step:
    """Return the next step for an instance.

    `assignments` are by host; there is one at most unless somebody meddled, and then each is kept up to date.
    `reported_revision` is that of the document that was last reported as invalid: each is reported once, since from
    the assignment on the status is the agent's.
    """
    if instance is None:
        return Nothing()
    if instance.error is not None:
        if reported_revision == instance.revision:
            return Nothing()
        return ReportInvalid(instance.error, instance.revision)
    for host, assignment in sorted(assignments.items()):
        # Not only where it is lower: a document that was repaired by hand may have begun again at 1.
        if assignment.generation != instance.generation:
            return Relay(host, assignment.revision, instance.generation)
    if assignments:
        return Nothing()
    return RemoveKeys() if instance.deleted else Place()
