"""`etcdcompute graph`: the group; each command has a module of its own."""

import click

from etcdcompute.cli.graph_demo import demo
from etcdcompute.cli.graph_query import query
from etcdcompute.cli.graph_transfer import export, import_


@click.group()
def graph() -> None:
    """Ask placement's graph, carry it from store to store, and try it out."""


for command in (query, export, import_, demo):
    graph.add_command(command)
