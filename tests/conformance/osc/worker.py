"""A process that runs some of the tests against a service of its own."""

import os
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.conformance.gabbi.profiles import LEGACY
from tests.conformance.gabbi.services import GRAPHS
from tests.conformance.osc.exceptions import EXCEPTIONS
from tests.conformance.osc.suite import find_tests, run

# A test's id, passed, failed or skipped, and why.
Outcome = tuple[str, str, str]


def run_some(graph: str, ids: list[str]) -> list[Outcome]:
    """Run some of the tests, one after another, against a service of their own."""
    # One test starts `openstack` by its name; what they log is shown with a failure only.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ |= dict.fromkeys(("OS_STDOUT_CAPTURE", "OS_STDERR_CAPTURE", "OS_LOG_CAPTURE"), "1")
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        # Not in /tmp, which may be in memory: etcd takes 64 MB for its log.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etcdcompute-osc-", dir="/var/tmp")))
        services = GRAPHS[graph](stack, directory)
        endpoint = f"http://127.0.0.1:{services.port_of(LEGACY)}"
        for test in find_tests():
            if test.id() in ids:
                outcome, problem = run(test, endpoint, partial(services.replace, LEGACY, {}))
                outcomes.append((test.id(), *_judged(test.id(), outcome, problem)))
    return outcomes


def _judged(name: str, outcome: str, problem: str) -> tuple[str, str]:
    """Return what an outcome means for us: what is listed as an exception has to fail."""
    if name not in EXCEPTIONS:
        return outcome, problem
    if outcome == "passed":
        return "failed", "it is listed as an exception, and passes: take it off the list"
    return "skipped", EXCEPTIONS[name]
