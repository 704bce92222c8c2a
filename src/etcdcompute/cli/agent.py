"""`etcdcompute agent`."""

import click

from etcdcompute.cli.context import Context


@click.group()
def agent() -> None:
    """Run the agent of this compute host."""


@agent.command()
@click.pass_obj
def run(context: Context) -> None:
    """Run the agent until SIGTERM or SIGINT; instances go on running without it."""
    from etcdcompute.agent.service import run_agent
    from etcdcompute.cli.daemon import run_daemon

    run_daemon("agent", context.settings, run_agent)
