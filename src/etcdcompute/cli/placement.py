"""`etcdcompute placement`."""

import click

from etcdcompute.cli.context import Context


@click.group()
def placement() -> None:
    """Run the placement service."""


@placement.command()
@click.option(
    "--graph",
    metavar="URL",
    help="Where the graph is kept: memory:// or etcd://HOST:PORT[,HOST:PORT…]. Default: placement.graph, else the "
    "endpoints of the section etcd.",
)
@click.option("--listen", metavar="HOST:PORT", help="Where to serve. Default: placement.listen.")
@click.option(
    "--auth",
    type=click.Choice(("none", "token")),
    help="Whether clients must show the token (placement.token). Default: placement.auth, else token where there is "
    "one, and none on loopback only.",
)
@click.pass_obj
def serve(context: Context, graph: str | None, listen: str | None, auth: str | None) -> None:
    """Serve OpenStack's Placement API over HTTP until SIGTERM or SIGINT. Several may serve one graph."""
    from msgspec.structs import replace

    from etcdcompute.cli.daemon import run_daemon
    from etcdcompute.placement.service import run_placement

    settings = context.settings
    given = {name: value for name, value in (("graph", graph), ("listen", listen), ("auth", auth)) if value is not None}
    run_daemon("placement", replace(settings, placement=replace(settings.placement, **given)), run_placement)
