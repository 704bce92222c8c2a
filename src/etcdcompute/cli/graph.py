"""`etcdcompute graph`."""

import click

from etcdcompute.cli.graph_query import query
from etcdcompute.cli.graph_transfer import export, import_


@click.group()
def graph() -> None:
    """Ask placement's graph, and carry it from store to store."""


graph.add_command(query)
graph.add_command(export)
graph.add_command(import_)
