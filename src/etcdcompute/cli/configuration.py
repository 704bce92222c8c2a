"""`etcdcompute config`."""

from pathlib import Path

import click


@click.group()
def config() -> None:
    """Check configuration files."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE as the daemons would read it (the environment is left out); exit status 2 says that it is wrong."""
    from etcdcompute.config import load_settings

    load_settings(file, environment={})
    click.echo(f"{file}: valid")
