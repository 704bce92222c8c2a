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
    from etcdcompute.placement.api.cors import check_origins
    from etcdcompute.placement.serve import choose_gate, parse_listen

    placement = load_settings(file, environment={}).placement
    # What only the service itself would find out, when it is started.
    host, _ = parse_listen(placement.listen)
    choose_gate(host, auth=placement.auth, token=placement.token, policy=placement.policy)
    check_origins(placement.cors_origins)
    click.echo(f"{file}: valid")
