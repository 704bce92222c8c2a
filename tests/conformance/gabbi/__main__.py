"""Run OpenStack's own functional tests of its Placement API against a live service of ours, and count.

Exit status 0 says that all passed, 1 that some did not.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.conformance.gabbi.exceptions import EXCEPTIONS
from tests.conformance.gabbi.files import GabbiFile, Outcome, find_files, run_file
from tests.conformance.gabbi.services import GRAPHS
from tests.conformance.gabbi.topologies import record_topologies

_MOST_SHOWN = 600


def main() -> int:
    """Run the files that the command line names, all unless it names some."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.gabbi", description=__doc__)
    parser.add_argument("--graph", choices=sorted(GRAPHS), default="etcd", help="what the service keeps its graph in")
    parser.add_argument("--long", action="store_true", help="show what is wrong with a test in full")
    parser.add_argument("files", nargs="*", metavar="FILE", help="names of OpenStack's files, without .yaml")
    options = parser.parse_args()
    files = find_files()
    if unknown := set(options.files) - {file.name for file in files}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(file.name for file in files)}")
    wanted = [file for file in files if not options.files or file.name in options.files]
    return _run(wanted, options.graph, None if options.long else _MOST_SHOWN)


def _run(files: list[GabbiFile], graph: str, most_shown: int | None) -> int:
    started = time.monotonic()
    totals: dict[str, Counter[str]] = {}
    with ExitStack() as stack:
        # Not in /tmp, which may be in memory: etcd takes 64 MB for its log.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etcdcompute-gabbi-", dir="/var/tmp")))
        topologies = record_topologies(sorted({file.fixture for file in files}), directory)
        services = GRAPHS[graph](stack, directory)
        for file in files:
            topology, profile = topologies[file.fixture], file.profile
            outcome = run_file(
                file,
                services.port_of(profile),
                topology.environment,
                partial(services.replace, profile, topology.documents),
                EXCEPTIONS.get(file.name, {}),
            )
            _report(file.name, outcome, most_shown)
            counts = {"passed": outcome.passed, "failed": len(outcome.failed), "skipped": len(outcome.excepted)}
            totals.setdefault(profile.name, Counter()).update(counts)
    everything = sum(totals.values(), Counter[str]())
    print()
    for name, counter in totals.items():
        _line(f"profile {name}", counter)
    _line(f"{len(files)} files over {graph}, in {time.monotonic() - started:.0f} s", everything)
    return 1 if everything["failed"] or not everything["passed"] else 0


def _report(name: str, outcome: Outcome, most_shown: int | None) -> None:
    counts = {"passed": outcome.passed, "failed": len(outcome.failed), "skipped": len(outcome.excepted)}
    _line(name, Counter(counts))
    for test, problem in outcome.failed.items():
        print(f"    FAILED {test}: {problem[:most_shown]}")
    sys.stdout.flush()


def _line(what: str, counts: Counter[str]) -> None:
    print(f"{what:<60} {counts['passed']:>5} passed {counts['failed']:>4} failed {counts['skipped']:>4} skipped")


if __name__ == "__main__":
    sys.exit(main())
