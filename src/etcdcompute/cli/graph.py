"""`etcdcompute graph`: the group; each command has a module of its own."""

import click

from etcdcompute.cli.graph_demo import demo


@click.group()
def graph() -> None:
    """Look at the placement graph, and try it out."""


graph.add_command(demo)
