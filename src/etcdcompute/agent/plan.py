"""Which steps lead from what is to what shall be. Pure.

Every step can be repeated, and behind each stands a failpoint `agent.<step>`, named as the steps here: killed anywhere,
the agent looks again and the plan is what is left of it.
"""

from dataclasses import dataclass
from enum import StrEnum

from etcdcompute.agent.hypervisor import DomainState
from etcdcompute.model import PowerState


class Step(StrEnum):
    """A step that changes the world, named by what is true after it."""

    IMAGE_CACHED = "image_cached"
    DISK_CREATED = "disk_created"
    SEED_CREATED = "seed_created"
    DOMAIN_DEFINED = "domain_defined"
    DOMAIN_STARTED = "domain_started"
    DOMAIN_RESUMED = "domain_resumed"
    SHUTDOWN_REQUESTED = "shutdown_requested"
    DOMAIN_DESTROYED = "domain_destroyed"
    DOMAIN_UNDEFINED = "domain_undefined"
    FILES_REMOVED = "files_removed"
    ALLOCATION_RELEASED = "allocation_released"
    KEYS_REMOVED = "keys_removed"
    STATUS_WRITTEN = "status_written"


CREATE_STEPS = (
    Step.IMAGE_CACHED,
    Step.DISK_CREATED,
    Step.SEED_CREATED,
    Step.DOMAIN_DEFINED,
    Step.DOMAIN_STARTED,
    Step.STATUS_WRITTEN,
)
DELETE_STEPS = (
    Step.DOMAIN_DESTROYED,
    Step.DOMAIN_UNDEFINED,
    Step.FILES_REMOVED,
    Step.ALLOCATION_RELEASED,
    Step.KEYS_REMOVED,
)

# States in which there is a qemu.
_ACTIVE = (DomainState.RUNNING, DomainState.PAUSED, DomainState.STARVED)


@dataclass(frozen=True, slots=True)
class Observed:
    """One instance on this host as it is. `domain_current`: the definition is the one that we would give it."""

    image: bool
    disk: bool
    seed: bool
    files: bool
    domain: DomainState
    domain_current: bool


def plan_present(power_state: PowerState, observed: Observed, *, shutdown_overdue: bool) -> tuple[Step, ...]:
    """Return the steps towards an instance that is there, in order.

    A running domain is left as it is; what its definition lacks is made good before its next start. A paused one is
    left alone too: either somebody paused it, or its disk had an error that starting it again would hide. One that
    found no space goes on; the caller sees to it that there is some.
    """
    if observed.domain in _ACTIVE:
        if power_state is PowerState.RUNNING:
            return (Step.DOMAIN_RESUMED,) if observed.domain is DomainState.STARVED else ()
        return (Step.DOMAIN_DESTROYED,) if shutdown_overdue else (Step.SHUTDOWN_REQUESTED,)
    steps = []
    if not observed.image or not observed.disk:
        steps.append(Step.IMAGE_CACHED)
    if not observed.disk:
        steps.append(Step.DISK_CREATED)
    if not observed.seed:
        steps.append(Step.SEED_CREATED)
    if observed.domain is DomainState.ABSENT or not observed.domain_current:
        steps.append(Step.DOMAIN_DEFINED)
    if power_state is PowerState.RUNNING:
        steps.append(Step.DOMAIN_STARTED)
    return tuple(steps)


def plan_local_removal(observed: Observed) -> tuple[Step, ...]:
    """Return the steps that undo all there is on this host, in order."""
    steps = []
    if observed.domain in _ACTIVE:
        steps.append(Step.DOMAIN_DESTROYED)
    if observed.domain is not DomainState.ABSENT:
        steps.append(Step.DOMAIN_UNDEFINED)
    if observed.files:
        steps.append(Step.FILES_REMOVED)
    return tuple(steps)


def plan_delete(observed: Observed) -> tuple[Step, ...]:
    """Return the steps that take an instance down: this host first, then the allocation, its keys last."""
    return (*plan_local_removal(observed), Step.ALLOCATION_RELEASED, Step.KEYS_REMOVED)
