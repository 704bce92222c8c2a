"""`etcdcompute scheduler`."""

import click

from etcdcompute.cli.context import Context


@click.group()
def scheduler() -> None:
    """Run the scheduler."""


@scheduler.command()
@click.pass_obj
def run(context: Context) -> None:
    """Run the scheduler until SIGTERM or SIGINT. Several may run: one leads, the others wait."""
    from etcdcompute.cli.daemon import run_daemon
    from etcdcompute.scheduler.service import run_scheduler

    run_daemon("scheduler", context.settings, run_scheduler)
