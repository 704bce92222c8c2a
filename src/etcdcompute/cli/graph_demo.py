"""`etcdcompute graph demo`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from etcdcompute.cli.output import remark

if TYPE_CHECKING:
    from etcdcompute.placement.demo.play import InNeo4j

# As in etcdcompute.placement.demo.examples, which --help need not import.
_NAMES = ("nested", "shared", "nested-shared", "consumers")
_MOST = 100_000


@click.command()
@click.argument("example", type=click.Choice(_NAMES))
@click.option(
    "-n",
    "--size",
    type=click.IntRange(1, _MOST),
    help="How many plain compute nodes, and as many with NUMA nodes; nested and nested-shared only. Default: 50.",
)
@click.option(
    "--graph",
    "url",
    metavar="URL",
    default="memory://",
    show_default=True,
    help="The store to play it on: memory://, etcd://HOST:PORT[,HOST:PORT…] or neo4j://USER:PASSWORD@HOST:PORT, which "
    "runs the posts' Cypher, too. It must hold nothing else.",
)
@click.option("--keep", is_flag=True, help="Leave in the store what the service was asked about.")
def demo(example: str, size: int | None, url: str, keep: bool) -> None:
    """Play an example of the posts on Placement as a graph: their Cypher, what it finds, what the service finds.

    The posts are Ed Leafe's; docs/graph-posts.md goes through them.
    """
    import gc

    from etcdcompute.placement.demo.examples import EXAMPLES
    from etcdcompute.placement.demo.play import Place, play
    from etcdcompute.placement.demo.topologies import USUAL_SIZE
    from etcdcompute.placement.serve import GARBAGE_THRESHOLDS, open_store

    chosen = EXAMPLES[example]
    if size is not None and not chosen.sized:
        raise click.UsageError(f"{example} has one size only: leave out --size.")
    scheme, _, rest = url.partition("://")
    in_memory = scheme == "memory"
    if keep and in_memory:
        raise click.UsageError("memory:// keeps nothing: leave out --keep, or give it --graph etcd://… or neo4j://….")
    name = f"{scheme}://{rest.rpartition('@')[2]}"
    store = open_store(url)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        store.start()
        place = Place(store, name, _in_neo4j(url) if scheme == "neo4j" else None)
        play(chosen, size or USUAL_SIZE, place, keep=keep or in_memory, show=click.echo, say=remark)
    finally:
        store.close()
    if in_memory:
        end = "Nothing is left: memory:// has ended with the command."
    elif keep:
        end = f"It stays in {name} until an example is played there without --keep."
    else:
        end = f"Nothing of it is left in {name}."
    others = ", ".join(each for each in _NAMES if each != example)
    click.echo(f"\n{end}\nNext: the others ({others}), and docs/graph-posts.md for what they show.")


def _in_neo4j(url: str) -> InNeo4j:
    from etcdcompute.placement.graph.neo4j.posts import rolled_back

    return partial(rolled_back, url)
