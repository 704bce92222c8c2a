"""What the bench prints and writes in the end."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.figures import Figure, described, meets, ratio, written
from bench.posts_rows import PostsRow, Where, judge
from bench.rows import Row
from bench.stage import Effort

_NOTHING = "-"


@dataclass(slots=True)
class Results:
    """The figures of a run, and what failed, by row and side (`openstack`, `ours`)."""

    figures: dict[tuple[str, str], Figure] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def text(self, row: Row | PostsRow, side: str) -> str:
        """Return what the table says of a row on one side."""
        if (row.key, side) in self.failures:
            return "failed"
        figure = self.figures.get((row.key, side))
        return described(row.unit, figure) if figure else _NOTHING


def comparison(rows: Sequence[Row], results: Results, *, whole: bool) -> str:
    """Return the table of both sides; floors are held against a whole run only."""
    lines = []
    for row in rows:
        if row.ours_only or row.floor is None:
            continue
        peer, ours = results.figures.get((row.key, "openstack")), results.figures.get((row.key, "ours"))
        times = _NOTHING
        if peer and ours and ours.beyond is None:
            more = "> " if peer.beyond is not None else ""
            times = f"{more}{written(ratio(row.unit, peer, ours))}"
        met = _NOTHING
        if ours and whole:
            met = "yes" if meets(row.unit, ours, row.floor) else "NO"
        floor = f"{row.floor:g} {row.unit}"
        lines.append((row.work, results.text(row, "openstack"), results.text(row, "ours"), times, floor, met))
    headers = ("work", "OpenStack's", "ours", "times better", "floor", "met")
    columns = ("left", "right", "right", "right", "right", "left")
    return tabulate(lines, headers=headers, colalign=columns, disable_numparse=True)


def nearness(rows: Sequence[Row], results: Results) -> str:
    """Return the table that holds our figures against what the machine could do at best."""
    by_key = {row.key: row for row in rows}
    lines = []
    for row in rows:
        limit = by_key.get(row.limit)
        ours = results.figures.get((row.key, "ours"))
        best = results.figures.get((row.limit, "ours"))
        if limit is None or ours is None or best is None:
            continue
        share = 100 / ratio(row.unit, ours, best)
        lines.append((row.work, described(row.unit, ours), limit.work, described(limit.unit, best), f"{share:.0f} %"))
    headers = ("work", "ours", "limit", "at best", "reached")
    return tabulate(lines, headers=headers, colalign=("left", "right", "left", "right", "right")) if lines else ""


def posts_comparison(rows: Sequence[PostsRow], results: Results, *, whole: bool) -> str:
    """Return the table of the posts' rows: plain Cypher and the service on each store, and below it the floors."""
    headers = ("work", "plain Cypher", "service, Neo4j", "service, etcd", "service, memory")
    lines = [(row.work, *(results.text(row, where) for where in Where)) for row in rows]
    table = tabulate(lines, headers=headers, colalign=("left", *("right",) * 4), disable_numparse=True)
    if not whole:
        return table
    judged = []
    for row in rows:
        figures = {where: results.figures[row.key, where] for where in Where if (row.key, where) in results.figures}
        judged += [(row.work, verdict.floor, "yes" if verdict.met else "NO") for verdict in judge(row, figures)]
    floors = tabulate(judged, headers=("work", "floor", "met"), disable_numparse=True)
    return f"{table}\n\n{floors}" if judged else table


def machine(project: Path) -> dict[str, Any]:
    """Return where and when and what was measured."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=project, capture_output=True, check=False)
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit.stdout.decode().strip(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def write_json(
    folder: Path, facts: Mapping[str, Any], effort: Effort, rows: Sequence[Row | PostsRow], results: Results
) -> Path:
    """Write all figures with their samples to a new file in the folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    document = {"machine": dict(facts), "effort": asdict(effort), "rows": [_row(row, results) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _row(row: Row | PostsRow, results: Results) -> dict[str, Any]:
    document: dict[str, Any] = {"key": row.key, "work": row.work, "unit": str(row.unit), "floor": row.floor}
    for side in ("openstack", "ours", *Where):
        failure = results.failures.get((row.key, side))
        figure = results.figures.get((row.key, side))
        if failure:
            document[side] = {"failure": failure}
        elif figure:
            median = figure.value if figure.beyond is None else None
            document[side] = {"median": median, **asdict(figure)}
    return document
