"""`etcdcompute graph export` and `etcdcompute graph import`: the store itself is opened, no service need run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdcompute.cli.output import remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etcdcompute.cli.context import Context
    from etcdcompute.placement.graph.restoring import Holdings
    from etcdcompute.placement.graph.store import GraphStore

_STANDARD = "-"
_MOST_SHOWN = 20

_graph_option = click.option(
    "--graph",
    metavar="URL",
    help="The store: etcd://HOST:PORT[,HOST:PORT…] or neo4j://USER:PASSWORD@HOST:PORT. Default: placement.graph, else "
    "the endpoints of the section etcd.",
)


@click.command(short_help="Write the whole graph to a file.")
@_graph_option
@click.argument("file", default=_STANDARD)
@click.pass_obj
def export(context: Context, graph: str | None, file: str) -> None:
    """Write the whole graph, as it stands at one moment, to FILE (-, or nothing: standard output).

    Providers with their generations, consumers with their allocations, custom traits and classes, times: everything,
    to be imported into another store, or into the same one after it was lost.
    """
    from etcdcompute.placement.graph.restoring import refuse
    from etcdcompute.placement.graph.transfer import archive
    from etcdcompute.placement.graph.transfer.wholeness import check_whole

    with _open(context, graph) as store:
        held = store.inspect()
        refuse(held.importing)
        snapshot = held.snapshot
        check_whole(snapshot, "the graph does not hold together")
        _write(file, archive.write(snapshot))
        revision = store.fetch_revision()
    if revision != snapshot.revision:
        remark(
            f"the graph has changed since (revision {snapshot.revision}, now {revision}): somebody writes to it. "
            "To move to another store, stop the placement services first and export again"
        )
    where = "" if file == _STANDARD else f" to {file}"
    remark(f"exported {archive.count(snapshot)} at revision {snapshot.revision}{where}")
    remark(f"next: etcdcompute graph import --graph URL {'FILE' if file == _STANDARD else file}")


@click.command("import", short_help="Bring an empty store to hold the graph in a file.")
@_graph_option
@click.option("--abandon", is_flag=True, help="Drop an import that is not finished, and all that it has brought.")
@click.argument("file", required=False)
@click.pass_obj
def import_(context: Context, graph: str | None, abandon: bool, file: str | None) -> None:
    """Bring an empty store to hold the graph in FILE (-: standard input), and prove that it does.

    Until it is finished placement services on that store answer 503. If it is broken off, the same command goes on
    where it was; --abandon leaves the store empty again.
    """
    if abandon == (file is not None):
        raise click.UsageError("give the FILE to import, or --abandon")
    try:
        if file is None:
            _abandon(context, graph)
        else:
            _import(context, graph, file)
    except KeyboardInterrupt:
        remark("if the import had begun it is not finished: run it again with the same file, or drop it with --abandon")
        raise


def _import(context: Context, graph: str | None, file: str) -> None:
    from etcdcompute.errors import EtcdComputeError
    from etcdcompute.placement.graph.transfer import archive
    from etcdcompute.placement.graph.transfer.importing import import_archive

    with _reading(file) as (lines, name):
        found = archive.read(lines, name)

    def reread() -> Holdings:
        with _open(context, graph) as fresh:
            return fresh.inspect()

    with _open(context, graph) as store:
        outcome = import_archive(store, found, name, reread, remark)
    if outcome.differences:
        for each in outcome.differences[:_MOST_SHOWN]:
            click.echo(f"different: {each}")
        raise EtcdComputeError(
            f"the store differs from {name} in {len(outcome.differences)} documents, and is not served: somebody wrote "
            "to it behind placement's back. Drop the import with --abandon and begin again"
        )
    done = f"restored {outcome.restored}" if outcome.restored else "nothing was missing"
    remark(f"{'went on where it was broken off: ' if outcome.resumed else ''}{done}; read back and compared")
    click.echo(f"equal: {outcome.counts}")
    remark("next: set placement.graph to this store on every controller, and restart the placement services")


def _abandon(context: Context, graph: str | None) -> None:
    from etcdcompute.placement.graph.transfer.importing import abandon_import

    with _open(context, graph) as store:
        removed = abandon_import(store, remark)
    if removed is None:
        remark("no import is under way; nothing was changed")
    else:
        remark(f"dropped the import and what it had brought: {removed}; the store is empty and can be served")


@contextmanager
def _open(context: Context, graph: str | None) -> Iterator[GraphStore]:
    """Give the store, ready to be asked."""
    from etcdcompute.errors import InvalidInput
    from etcdcompute.kv.connect import connect
    from etcdcompute.placement.serve import open_store

    settings = context.settings
    url = settings.placement.graph if graph is None else graph
    if url.startswith("memory:"):
        raise InvalidInput(
            "graph: what is in memory:// ends with the service that has it; name etcd://… or neo4j://… with --graph"
        )
    store = open_store(url, lambda: connect(settings.etcd))
    try:
        store.start()
        yield store
    finally:
        store.close()


@contextmanager
def _reading(file: str) -> Iterator[tuple[Iterable[bytes], str]]:
    """Give the lines of a file, and what to call it."""
    from etcdcompute.errors import InvalidInput

    if file == _STANDARD:
        yield sys.stdin.buffer, "standard input"
        return
    try:
        with Path(file).open("rb") as opened:
            yield opened, file
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def _write(file: str, lines: Iterable[bytes]) -> None:
    """Write a file that is whole, or none."""
    from etcdcompute.errors import InvalidInput

    if file == _STANDARD:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as opened:
            opened.writelines(lines)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
