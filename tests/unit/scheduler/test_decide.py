"""What is to be done about an instance."""

import pytest

from etcdcompute.scheduler.decide import Nothing, Place, Relay, RemoveKeys, ReportInvalid, Step, decide
from etcdcompute.scheduler.view import AssignmentRecord, InstanceRecord


def wanted(generation: int = 1, *, deleted: bool = False) -> InstanceRecord:
    return InstanceRecord(7, generation, deleted)


@pytest.mark.parametrize(
    ("instance", "assigned", "step"),
    [
        (None, {}, Nothing()),
        (None, {"h": 1}, Nothing()),
        (wanted(), {}, Place()),
        (wanted(), {"h": 1}, Nothing()),
        (wanted(3), {"h": 1}, Relay("h", 5, 3)),
        (wanted(1), {"h": 3}, Relay("h", 5, 1)),
        (wanted(2, deleted=True), {}, RemoveKeys()),
        (wanted(2, deleted=True), {"h": 1}, Relay("h", 5, 2)),
        (wanted(2, deleted=True), {"h": 2}, Nothing()),
        (wanted(2), {"a": 2, "b": 1}, Relay("b", 5, 2)),
    ],
)
def test_the_step(instance: InstanceRecord | None, assigned: dict[str, int], step: Step) -> None:
    assignments = {host: AssignmentRecord(5, generation) for host, generation in assigned.items()}
    assert decide(instance, assignments, 0) == step


def test_a_document_that_does_not_parse_is_reported_once_and_nothing_else_is_done() -> None:
    broken = InstanceRecord(7, 0, deleted=False, error="no")
    assert decide(broken, {}, 0) == ReportInvalid("no", 7)
    assert decide(broken, {"h": AssignmentRecord(5, 1)}, 6) == ReportInvalid("no", 7)
    assert decide(broken, {}, 7) == Nothing()
