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
    type=click.Choice(("none", "token", "noauth2")),
    help="Whether clients must show the token (placement.token), or name themselves and their roles as in OpenStack's "
    "noauth2, which proves nothing. Default: placement.auth, else token where there is one, and none on loopback only.",
)
@click.option(
    "--policy",
    type=click.Choice(("secure", "legacy", "open")),
    help="What noauth2 lets which roles do. Default: placement.policy, else secure.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    metavar="ORIGIN",
    multiple=True,
    help="A web origin (SCHEME://HOST[:PORT], or *) whose pages may use the API from a browser; may be repeated. "
    "Default: placement.cors_origins.",
)
@click.pass_obj
def serve(
    context: Context,
    graph: str | None,
    listen: str | None,
    auth: str | None,
    policy: str | None,
    cors_origins: tuple[str, ...],
) -> None:
    """Serve OpenStack's Placement API over HTTP until SIGTERM or SIGINT. Several may serve one graph."""
    from msgspec.structs import replace

    from etcdcompute.cli.daemon import run_daemon
    from etcdcompute.placement.service import run_placement

    settings = context.settings
    options = {"graph": graph, "listen": listen, "auth": auth, "policy": policy, "cors_origins": cors_origins or None}
    given = {name: value for name, value in options.items() if value is not None}
    run_daemon("placement", replace(settings, placement=replace(settings.placement, **given)), run_placement)
