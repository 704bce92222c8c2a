"""Bringing one instance a step nearer to where it should be: applies what `decide` says.

Every write is a transaction that compares the leader's key (so that a scheduler which lost the lead without knowing
writes nothing) and what the step was decided upon. A step that is rejected is not an error: something has changed, and
the instance is looked at anew. The order of claim and assignment is what makes a crash harmless: an assignment exists
only while its claim does, so a claim without assignment says exactly where the instance was to go.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import ParamSpec, TypeVar

from etcdcompute.errors import (
    AccessDenied,
    EtcdComputeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Stopped,
    Unavailable,
)
from etcdcompute.failpoint import failpoint
from etcdcompute.kv.client import Client
from etcdcompute.kv.records import Committed, Compare, Comparison, Item, Operation, Rejected, Remove, Write
from etcdcompute.model import Assignment, DocumentError, Instance, InstanceStatus, Phase, keys
from etcdcompute.model.clock import timestamp
from etcdcompute.model.stored import is_uuid, parse_instance
from etcdcompute.placement.client import (
    AllocationCandidates,
    Allocations,
    GenerationConflict,
    NoCapacity,
    PlacementClient,
)
from etcdcompute.scheduler.capacity import Capacity
from etcdcompute.scheduler.decide import Nothing, Place, Relay, RemoveKeys, ReportInvalid, decide
from etcdcompute.scheduler.rank import Candidate, rank
from etcdcompute.scheduler.reasons import CODE_NO_HOST, DISABLED_TRAIT, Wanted, explain, explain_unknown, find_roomy
from etcdcompute.scheduler.statuses import StoredStatus, compute_status, fetch_status, is_news
from etcdcompute.scheduler.view import AssignmentRecord, View, read_generation

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Whose the claims are; placement wants to know, and the project has no tenants yet.
PROJECT = "etcdcompute"
USER = "etcdcompute"

# How many candidates to ask for; more only where none of these is on a host that takes instances.
_CANDIDATE_LIMITS: tuple[int | None, ...] = (100, 1000, None)


class Outcome(Enum):
    """How a look at an instance ended."""

    DONE = auto()
    AGAIN = auto()  # something changed meanwhile: look anew, soon
    WAITING = auto()  # nothing fits: look anew when capacity changes, or after the retry interval


@dataclass(frozen=True, slots=True)
class _Unplaced:
    """An instance that needs a host, as it was just read."""

    item: Item
    instance: Instance
    status: StoredStatus

    @property
    def uuid(self) -> str:
        return self.instance.uuid

    @property
    def compares(self) -> tuple[Compare, ...]:
        """Hold as long as neither instance nor status is written."""
        return (Compare.unchanged(self.item), self.status.unchanged)


class PlacementProblem(EtcdComputeError):
    """Placement did not do what it was asked to; `code` and message are what the instance's status shows."""

    def __init__(self, error: EtcdComputeError) -> None:
        super().__init__(str(error))
        self.status_code = _status_code(error)


class UnknownName(InvalidInput):
    """The instance asks for a resource class or a trait that placement does not know."""

    code = "unknown_name"


def _status_code(error: EtcdComputeError) -> str:
    if isinstance(error, Unavailable | OutcomeUnknown):
        return "placement_unavailable"
    if isinstance(error, AccessDenied):
        return "placement_access_denied"
    if isinstance(error, UnknownName):
        return error.code
    return "placement_refused"


class Reconciler:
    """One leader's term. May be used by several threads, as long as no two look at one instance at once."""

    def __init__(
        self,
        store: Client,
        placement: PlacementClient,
        view: View,
        *,
        guard: Compare,
        lost: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._placement = placement
        self._view = view
        self._guard = guard
        self._lost = lost
        self._clock = clock
        self._capacity = Capacity(placement, clock=clock)

    def reconcile(self, uuid: str) -> Outcome:
        """Take the next step for the instance, if there is one; errors of etcd and placement pass."""
        match decide(*self._view.get_instance(uuid)):
            case Nothing():
                return Outcome.DONE
            case Place():
                return self._place(uuid)
            case RemoveKeys():
                return self._remove_keys(uuid)
            case Relay() as step:
                return self._relay(uuid, step)
            case ReportInvalid() as step:
                return self._report_invalid(uuid, step)

    # Placing

    def _place(self, uuid: str) -> Outcome:
        started = self._clock()
        item = self._store.get(keys.instance(uuid))
        if item is None:
            return Outcome.DONE
        try:
            instance = parse_instance(uuid, item.value)
        except DocumentError:
            return Outcome.AGAIN  # the watch is about to tell
        if instance.deleted:
            return self._remove_keys(uuid)
        target = _Unplaced(item, instance, fetch_status(self._store, uuid))
        known = target.status.document
        if known is None or known.phase is not Phase.PENDING:
            if known is not None and self._find_assignment(known.host_uuid, uuid):
                return Outcome.AGAIN  # assigned by a transaction whose answer was lost
            pending = self._set_pending(target, "", "looking for a host")
            if pending is None:
                return Outcome.AGAIN
            target = pending
            failpoint("scheduler.pending_written")
        try:
            return self._find_host(target, started)
        except PlacementProblem as problem:
            self._set_pending(target, problem.status_code, str(problem))
            raise

    def _find_host(self, target: _Unplaced, started: float) -> Outcome:
        held = self._ask(self._placement.get_allocations, target.uuid)
        if held.allocations:
            # Somebody, perhaps this scheduler, died between claim and assignment.
            host = self._fetch_holder(held)
            if host is not None and self._view.get_hosts().takes_instances(host):
                return self._assign(target, host, started, "resumed")
            moved = self._release_elsewhere(target, host)
            if moved is None:
                return Outcome.AGAIN
            target = moved
        wanted = _wanted(target.instance)
        for candidate in self._fetch_ranked(wanted, seed=target.uuid):
            if self._lost.is_set():
                raise Stopped("the leadership is lost")
            try:
                self._claim(target.uuid, candidate)
            except NoCapacity:
                continue
            except GenerationConflict:
                return Outcome.AGAIN  # it holds something after all
            failpoint("scheduler.claimed")
            return self._assign(target, candidate.host, started, "placed")
        message = self._ask(self._explain, wanted)
        if self._set_pending(target, CODE_NO_HOST, message) is None:
            return Outcome.AGAIN
        return Outcome.WAITING

    def _claim(self, uuid: str, candidate: Candidate) -> None:
        try:
            self._ask(
                self._placement.claim,
                uuid,
                candidate.request.allocations,
                consumer_generation=None,
                project_id=PROJECT,
                user_id=USER,
            )
        except PlacementProblem as problem:
            if isinstance(problem.__cause__, NoCapacity | GenerationConflict):
                raise problem.__cause__ from None
            raise

    def _assign(self, target: _Unplaced, host: str, started: float, how: str) -> Outcome:
        uuid, generation = target.uuid, target.instance.generation
        record = self._view.get_hosts().known.get(host)
        name = record.name if record else host
        assignment = Assignment(instance=uuid, host=host, generation=generation, assigned_at=timestamp())
        status = compute_status(target.status, Phase.ASSIGNED, generation=generation, host=(name, host))
        result = self._commit(
            [*target.compares, Compare.absent(keys.assignment(host, uuid))],
            [
                Write(keys.assignment(host, uuid), assignment.to_json()),
                Write(keys.instance_status(uuid), status.to_json()),
            ],
        )
        if isinstance(result, Rejected):
            self._release_if_gone(uuid)
            return Outcome.AGAIN
        failpoint("scheduler.assigned")
        self._view.note_assignment(host, uuid, AssignmentRecord(result.revision, generation))
        _LOG.info(
            "instance %s (%s): %s on %s in %.0f ms, revision %d",
            target.instance.name,
            uuid,
            how,
            name,
            (self._clock() - started) * 1000,
            result.revision,
        )
        return Outcome.DONE

    def _fetch_ranked(self, wanted: Wanted, *, seed: str) -> tuple[Candidate, ...]:
        for limit in _CANDIDATE_LIMITS:
            candidates = self._fetch_candidates(wanted, limit)
            ranked = rank(candidates, self._view.get_hosts(), seed=seed)
            if ranked or limit is None or len(candidates.requests) < limit:
                return ranked
        return ()

    def _fetch_candidates(self, wanted: Wanted, limit: int | None) -> AllocationCandidates:
        forbidden = (*wanted.forbidden, DISABLED_TRAIT)
        try:
            return self._placement.get_allocation_candidates(wanted.resources, wanted.required, forbidden, limit)
        except InvalidInput as error:
            unknown = explain_unknown(wanted, str(error))
            raise PlacementProblem(UnknownName(unknown) if unknown else error) from error
        except EtcdComputeError as error:
            raise PlacementProblem(error) from error

    def _fetch_holder(self, held: Allocations) -> str | None:
        """Return the host on which the instance holds resources; None where no host is known to have them."""
        hosts = self._view.get_hosts()
        for provider in held.allocations:
            if provider in hosts.known:
                return provider
        for provider in held.allocations:
            try:
                root = self._ask(self._placement.get_resource_provider, provider).root_uuid
            except PlacementProblem as problem:
                if isinstance(problem.__cause__, NotFound):
                    continue
                raise
            if root in hosts.known:
                return root
        return None

    def _release_elsewhere(self, target: _Unplaced, host: str | None) -> _Unplaced | None:
        """Give up a claim on a host that takes no instances (any more); None where the instance changed meanwhile.

        An assignment there may have been sent whose answer was lost. The new status makes it fail from here on, and
        the read that follows shows whether it came before.
        """
        record = self._view.get_hosts().known.get(host or "")
        message = f"its host {record.name if record else host} is gone or cordoned: looking for another"
        pending = self._set_pending(target, CODE_NO_HOST, message, always=True)
        if pending is None:
            return None
        providers = self._ask(self._placement.get_allocations, target.uuid).allocations
        if any(self._find_assignment(each, target.uuid) for each in {host or "", *providers}):
            return None
        self._ask(self._placement.release, target.uuid)
        failpoint("scheduler.released")
        return pending

    def _release_if_gone(self, uuid: str) -> None:
        """Free what was claimed if the instance does not exist any more; uuids do not come back, so it is safe."""
        if self._store.get(keys.instance(uuid)) is None:
            self._ask(self._placement.release, uuid)
            failpoint("scheduler.released")
            _LOG.info("instance %s: gone while it was placed, its claim is released", uuid)

    def _explain(self, wanted: Wanted) -> str:
        hosts = self._view.get_hosts()
        summaries = self._capacity.fetch_summaries(wanted.resources)
        roomy = find_roomy(wanted, hosts, summaries)
        return explain(wanted, hosts, summaries, self._capacity.fetch_limits(roomy))

    def _set_pending(self, target: _Unplaced, code: str, message: str, *, always: bool = False) -> _Unplaced | None:
        """Say why the instance waits; return it with its new status, or None where it changed meanwhile."""
        status = compute_status(
            target.status, Phase.PENDING, generation=target.instance.generation, code=code, message=message
        )
        if not always and not is_news(target.status, status):
            return target
        result = self._write_status(target.status, status, Compare.unchanged(target.item))
        if isinstance(result, Rejected):
            return None
        if code:
            _LOG.info("instance %s (%s): pending, %s", target.instance.name, target.uuid, message)
        return _Unplaced(target.item, target.instance, StoredStatus(target.uuid, result.revision, status))

    # The other steps

    def _remove_keys(self, uuid: str) -> Outcome:
        item = self._store.get(keys.instance(uuid))
        if item is None:
            return Outcome.DONE
        try:
            instance = parse_instance(uuid, item.value)
        except DocumentError:
            return Outcome.AGAIN
        if not instance.deleted:
            return Outcome.AGAIN
        status = fetch_status(self._store, uuid)
        try:
            held = self._ask(self._placement.get_allocations, uuid)
            # The tombstone is there: an assignment whose answer was lost has either come before it or never will.
            for host in {status.document.host_uuid if status.document else "", *held.allocations} - {""}:
                if self._find_assignment(host, uuid):
                    return Outcome.AGAIN
            if held.allocations:
                self._ask(self._placement.release, uuid)
        except PlacementProblem as problem:
            waiting = compute_status(
                status,
                Phase.DELETING,
                generation=instance.generation,
                code=problem.status_code,
                message=str(problem),
                keep_host=True,
            )
            if is_news(status, waiting):
                self._write_status(status, waiting, Compare.unchanged(item))
            raise
        failpoint("scheduler.released")
        compares = [Compare.unchanged(item)]
        operations: list[Operation] = [Remove(keys.instance(uuid)), Remove(keys.instance_status(uuid))]
        name = self._store.get(keys.instance_name(instance.name))
        if name is not None and name.value.decode(errors="replace") == uuid:
            compares.append(Compare.unchanged(name))
            operations.append(Remove(name.key))
        if isinstance(self._commit(compares, operations), Rejected):
            return Outcome.AGAIN
        failpoint("scheduler.keys_removed")
        _LOG.info("instance %s (%s): removed, it was on no host", instance.name, uuid)
        return Outcome.DONE

    def _relay(self, uuid: str, step: Relay) -> Outcome:
        key = keys.assignment(step.host, uuid)
        item = self._store.get(key)
        if item is None or item.mod_revision != step.revision:
            return Outcome.AGAIN
        try:
            assigned_at = Assignment.from_json(item.value).assigned_at
        except DocumentError:
            assigned_at = timestamp()
        assignment = Assignment(instance=uuid, host=step.host, generation=step.generation, assigned_at=assigned_at)
        result = self._commit([Compare.unchanged(item)], [Write(key, assignment.to_json())])
        if isinstance(result, Rejected):
            return Outcome.AGAIN
        failpoint("scheduler.relayed")
        self._view.note_assignment(step.host, uuid, AssignmentRecord(result.revision, step.generation))
        _LOG.info("instance %s: generation %d relayed to %s", uuid, step.generation, step.host)
        return Outcome.DONE

    def _report_invalid(self, uuid: str, step: ReportInvalid) -> Outcome:
        status = fetch_status(self._store, uuid)
        invalid = compute_status(
            status, Phase.ERROR, generation=None, code=DocumentError.code, message=step.message, keep_host=True
        )
        if is_news(status, invalid):
            same = Compare(keys.instance(uuid), Comparison.UNCHANGED, step.revision)
            if isinstance(self._write_status(status, invalid, same), Rejected):
                return Outcome.AGAIN
            _LOG.warning("instance %s: %s", uuid, step.message)
        self._view.note_reported(uuid, step.revision)
        return Outcome.DONE

    # Etcd and placement

    def _find_assignment(self, host: str, uuid: str) -> bool:
        """Whether the assignment exists; if so the view knows it from here on."""
        if not is_uuid(host):
            return False
        item = self._store.get(keys.assignment(host, uuid))
        if item is None:
            return False
        self._view.note_assignment(host, uuid, AssignmentRecord(item.mod_revision, read_generation(item)))
        return True

    def _write_status(self, before: StoredStatus, status: InstanceStatus, same: Compare) -> Committed | Rejected:
        return self._commit([same, before.unchanged], [Write(keys.instance_status(before.name), status.to_json())])

    def _commit(self, compares: list[Compare], operations: list[Operation]) -> Committed | Rejected:
        if self._lost.is_set():
            raise Stopped("the leadership is lost")
        return self._store.commit([self._guard, *compares], operations)

    @staticmethod
    def _ask(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask placement; what it refuses or fails becomes a PlacementProblem."""
        try:
            return call(*args, **kwargs)
        except EtcdComputeError as error:
            raise PlacementProblem(error) from error


def _wanted(instance: Instance) -> Wanted:
    return Wanted(instance.resources, instance.required_traits, instance.forbidden_traits)
