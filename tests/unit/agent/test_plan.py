"""Planning is pure, and what is planned leads where it should."""

import itertools
from dataclasses import replace

import pytest

from etcdcompute.agent.hypervisor import DomainState
from etcdcompute.agent.plan import (
    CREATE_STEPS,
    DELETE_STEPS,
    Observed,
    Step,
    plan_delete,
    plan_local_removal,
    plan_present,
)
from etcdcompute.model import PowerState

NOTHING = Observed(image=False, disk=False, seed=False, files=False, domain=DomainState.ABSENT, domain_current=False)
EVERYTHING = [
    Observed(image, disk, seed, disk or seed, domain, current)
    for image, disk, seed, current in itertools.product((False, True), repeat=4)
    for domain in DomainState
]


def apply(step: Step, observed: Observed) -> Observed:
    """What each step makes true."""
    match step:
        case Step.IMAGE_CACHED:
            return replace(observed, image=True)
        case Step.DISK_CREATED:
            assert observed.image
            return replace(observed, disk=True, files=True)
        case Step.SEED_CREATED:
            return replace(observed, seed=True, files=True)
        case Step.DOMAIN_DEFINED:
            state = DomainState.SHUT_OFF if observed.domain is DomainState.ABSENT else observed.domain
            return replace(observed, domain=state, domain_current=True)
        case Step.DOMAIN_RESUMED:
            assert observed.domain is DomainState.STARVED
            return replace(observed, domain=DomainState.RUNNING)
        case Step.DOMAIN_STARTED:
            assert observed.disk
            assert observed.seed
            assert observed.domain_current
            return replace(observed, domain=DomainState.RUNNING)
        case Step.DOMAIN_DESTROYED | Step.SHUTDOWN_REQUESTED:
            return replace(observed, domain=DomainState.SHUT_OFF)
        case Step.DOMAIN_UNDEFINED:
            assert observed.domain is DomainState.SHUT_OFF
            return replace(observed, domain=DomainState.ABSENT)
        case Step.FILES_REMOVED:
            assert observed.domain is DomainState.ABSENT
            return replace(observed, files=False, disk=False, seed=False)
        case _:
            return observed


def test_from_nothing_to_running_is_the_whole_create() -> None:
    steps = plan_present(PowerState.RUNNING, NOTHING, shutdown_overdue=False)
    assert (*steps, Step.STATUS_WRITTEN) == CREATE_STEPS


def test_a_running_instance_is_taken_down_in_order() -> None:
    observed = Observed(image=True, disk=True, seed=True, files=True, domain=DomainState.RUNNING, domain_current=True)
    assert plan_delete(observed) == DELETE_STEPS


@pytest.mark.parametrize("power_state", list(PowerState))
@pytest.mark.parametrize("observed", EVERYTHING)
def test_cut_anywhere_the_rest_is_still_planned(observed: Observed, power_state: PowerState) -> None:
    for _ in range(20):
        steps = plan_present(power_state, observed, shutdown_overdue=False)
        if not steps:
            break
        # Only the first step is carried out before the agent is killed.
        before, observed = observed, apply(steps[0], observed)
        if before == observed:
            for step in steps:
                observed = apply(step, observed)
    goals = {PowerState.RUNNING: (DomainState.RUNNING, DomainState.PAUSED), PowerState.STOPPED: (DomainState.SHUT_OFF,)}
    assert observed.domain in goals[power_state]


@pytest.mark.parametrize("observed", EVERYTHING)
def test_removal_leaves_nothing_and_keys_go_last(observed: Observed) -> None:
    assert plan_delete(observed)[-2:] == (Step.ALLOCATION_RELEASED, Step.KEYS_REMOVED)
    for step in plan_local_removal(observed):
        observed = apply(step, observed)
    assert observed.domain is DomainState.ABSENT
    assert not observed.files


def test_a_guest_that_does_not_heed_is_switched_off() -> None:
    observed = replace(NOTHING, domain=DomainState.RUNNING)
    assert plan_present(PowerState.STOPPED, observed, shutdown_overdue=True) == (Step.DOMAIN_DESTROYED,)
