"""Our placement service and OpenStack's, side by side: the same data, the same requests, one machine, one run.

One side is up at a time. Each deployment is loaded into each side once, and all of its rows are measured there.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from bench.deployments import DEPLOYMENTS, Deployment
from bench.figures import Figure, described
from bench.peer import OpenStack
from bench.posts import Posts
from bench.posts_rows import PostsRow, Where
from bench.profiling import find_profiler, profiled
from bench.report import Results, comparison, machine, nearness, posts_comparison, write_json
from bench.rows import Row, chosen, chosen_of_posts
from bench.sides import Ours, Side
from bench.stage import Effort, Stage, staged
from bench.wire import BenchError

_PROJECT = Path(__file__).parents[1]
_OUTPUT = Path(".cache/bench")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS = 10.0
_BUSY = 0.5
_BULK_LOADS = 3


@dataclass(slots=True)
class Run:
    """One run of the bench: what is measured, and what has been."""

    rows: Sequence[Row]
    posts: Sequence[PostsRow]
    effort: Effort
    profiler: str
    output: Path
    results: Results
    began: float

    def say(self, text: str) -> None:
        """Print a line of progress."""
        elapsed_s = int(time.monotonic() - self.began)
        print(f"{elapsed_s // 60:3d}:{elapsed_s % 60:02d}  {text}", file=sys.stderr, flush=True)

    def measure(self, side: Side, deployment: Deployment) -> None:
        """Measure the rows of one deployment on one side; a failure is noted, and the rest goes on."""
        rows = [row for row in self.rows if row.deployment is deployment and (side.name == "ours" or not row.ours_only)]
        if not rows:
            return
        # Loading is a row of its own here, and quick enough for a median.
        loads = _BULK_LOADS if side.bulk and deployment.bulk and any(row.key == "load-trees" for row in rows) else 1
        try:
            with staged(side, deployment, self.effort, loads=loads, say=self.say) as stage:
                for row in rows:
                    self._measure_row(stage, row)
        except BenchError as error:
            self.say(f"{side.name}: FAILED: {error}")
            for row in rows:
                if (row.key, side.name) not in self.results.figures:
                    self.results.failures.setdefault((row.key, side.name), str(error))

    def measure_posts(self, folder: Path) -> None:
        """Measure the rows about the posts."""
        if self.posts:
            Posts(self.posts, self.effort.scale, folder, self.profiler, self.output, self.say, self._note_posts).run()

    def _note_posts(self, row: PostsRow, where: Where, found: Figure | str) -> None:
        if isinstance(found, Figure):
            self.results.figures[row.key, where] = found
            self.say(f"{where}: {row.key}: {described(row.unit, found)}")
        elif (row.key, where) not in self.results.figures and (row.key, where) not in self.results.failures:
            self.results.failures[row.key, where] = found
            self.say(f"{where}: {row.key}: FAILED: {found}")

    def _measure_row(self, stage: Stage, row: Row) -> None:
        name = stage.side.name
        self.say(f"{name}: {row.key}: {row.work} …")
        try:
            with ExitStack() as around:
                if self.profiler and name == "ours":
                    path = self.output / f"{row.key}.svg"
                    around.enter_context(profiled(self.profiler, stage.service.server.pid, path))
                figure = row.measure(stage)
        except BenchError as error:
            self.results.failures[row.key, name] = str(error)
            self.say(f"{name}: {row.key}: FAILED: {error}")
            return
        self.results.figures[row.key, name] = figure
        details = ", ".join(f"{detail} {value:,.4g}" for detail, value in figure.details.items())
        self.say(f"{name}: {row.key}: {described(row.unit, figure)}{f' ({details})' if details else ''}")


def main() -> None:
    """Measure, print, write."""
    arguments = _parse()
    for number in _ENDING:
        # Under nohup it goes on when its terminal has gone.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        failed = _run(arguments)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--peer", choices=("yes", "no"), default="yes", help="whether OpenStack's is measured, too")
    parser.add_argument("--rows", default="", metavar="WORDS", help="only rows whose key begins with one of these")
    parser.add_argument("--scale", type=float, default=1.0, help="of the deployments and times; for trying out")
    parser.add_argument("--time-limit", type=float, default=30.0, metavar="S", help="how long a search may take")
    parser.add_argument("--profile", choices=("yes", "no"), default="no", help="flame graphs of our side by py-spy")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on the disk that is to be measured")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="where figures and profiles are written")
    arguments = parser.parse_args()
    if not 0 < arguments.scale <= 1:
        parser.error("--scale: above 0, and 1 at most")
    return arguments


def _run(arguments: argparse.Namespace) -> bool:
    rows = chosen(arguments.rows)
    effort = Effort(arguments.scale, max(1.0, _SECONDS * arguments.scale), arguments.time_limit)
    profiler = find_profiler() if arguments.profile == "yes" else ""
    run = Run(rows, chosen_of_posts(arguments.rows), effort, profiler, arguments.output, Results(), time.monotonic())
    facts = machine(_PROJECT)
    if facts["load_before"] > _BUSY:
        run.say(f"this machine is busy (load {facts['load_before']:.1f}): the figures will tell little")
    with ExitStack() as around:
        folder = Path(
            around.enter_context(tempfile.TemporaryDirectory(prefix="etcdcompute-bench-", dir=arguments.folder))
        )
        ours = Ours(folder)
        sides: list[Side] = [OpenStack(folder), ours] if arguments.peer == "yes" else [ours]
        for deployment in DEPLOYMENTS:
            for side in sides:
                run.measure(side, deployment)
        run.measure_posts(folder)
    _print(run, facts)
    return bool(run.results.failures)


def _print(run: Run, facts: dict[str, Any]) -> None:
    whole = run.effort.scale == 1
    if run.rows:
        print(f"\n{comparison(run.rows, run.results, whole=whole)}")
    if run.posts:
        print(f"\n{posts_comparison(run.posts, run.results, whole=whole)}")
    if near := nearness(run.rows, run.results):
        print(f"\n{near}")
    if not whole:
        print(f"\nat a scale of {run.effort.scale:g}: to see that it runs, not how fast")
    print(f"\nall samples: {write_json(run.output, facts, run.effort, [*run.rows, *run.posts], run.results)}")


def _end(number: int, frame: FrameType | None) -> None:
    """Unwind, so that every server ends and every folder goes; whoever is impatient must not cut that short."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
