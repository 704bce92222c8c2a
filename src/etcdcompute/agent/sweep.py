"""The periodic look at everything: what is assigned, and what is here and is not."""

import logging

from etcdcompute.agent.assignments import Assignments
from etcdcompute.agent.errors import BuildError, LibvirtUnavailable, PlacementUnavailable
from etcdcompute.agent.orphans import Orphans
from etcdcompute.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)


def sweep(assignments: Assignments, orphans: Orphans, queue: WorkQueue[str]) -> None:
    """Queue all instances that are assigned here, and all that left something behind. Raises Unavailable for etcd."""
    for uuid in sorted(assignments.uuids()):
        queue.add(uuid)
    orphans.remember_store()
    found: set[str] = set()
    # One that is down, or refuses, does not hide what the other has.
    for find in (orphans.find_local, orphans.find_allocated):
        try:
            found |= find()
        except (LibvirtUnavailable, PlacementUnavailable, BuildError) as error:
            _LOG.debug("not everything could be looked at: %s", error)
    for uuid in sorted(found):
        queue.add(uuid)
