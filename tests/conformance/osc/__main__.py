"""Run osc-placement's own functional tests against a live service of ours, and count.

Exit status 0 says that all passed, 1 that some did not.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.conformance.gabbi.services import GRAPHS
from tests.conformance.osc.suite import find_tests
from tests.conformance.osc.worker import run_some


def main() -> int:
    """Run the tests whose ids contain what the command line says, all where it says nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.osc", description=__doc__)
    parser.add_argument("--graph", choices=sorted(GRAPHS), default="etcd", help="what the service keeps its graph in")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many run tests side by side")
    parser.add_argument("wanted", nargs="?", default="", metavar="TEXT", help="a part of the ids of the tests to run")
    options = parser.parse_args()
    started = time.monotonic()
    ids = [test.id() for test in find_tests() if options.wanted in test.id()]
    shares = [ids[number :: options.processes] for number in range(options.processes)]
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        outcomes = [each for done in pool.map(partial(run_some, options.graph), shares) for each in done]
    files: dict[str, Counter[str]] = {}
    for name, outcome, problem in sorted(outcomes):
        files.setdefault(name.split(".")[-3], Counter())[outcome] += 1
        if outcome == "failed":
            print(f"FAILED {name}\n{problem}")
    for file, counts in files.items():
        _line(file, counts)
    everything = sum(files.values(), Counter[str]())
    _line(f"osc-placement's tests over {options.graph}, in {time.monotonic() - started:.0f} s", everything)
    return 1 if everything["failed"] or not everything["passed"] else 0


def _line(what: str, counts: Counter[str]) -> None:
    print(f"{what:<60} {counts['passed']:>5} passed {counts['failed']:>4} failed {counts['skipped']:>4} skipped")


if __name__ == "__main__":
    sys.exit(main())
