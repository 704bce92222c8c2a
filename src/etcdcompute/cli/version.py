"""`etcdcompute version`."""

import click

from etcdcompute import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)
