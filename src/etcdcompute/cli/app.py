"""The program: global options, the nouns by name, and what becomes of errors.

A noun's module is imported when the noun is used, so that `--help` is fast and an agent's host needs nothing of
placement's, nor a laptop libvirt.
"""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from etcdcompute import __version__
from etcdcompute.cli import exitcodes
from etcdcompute.cli.context import Context
from etcdcompute.errors import EtcdComputeError

# name -> (module:attribute, what --help says)
_NOUNS: Mapping[str, tuple[str, str]] = {
    "instance": ("etcdcompute.cli.instance:instance", "Create, show, change and delete instances."),
    "host": ("etcdcompute.cli.host:host", "Show compute hosts, and keep new instances off them."),
    "placement": ("etcdcompute.cli.placement:placement", "Run the placement service."),
    "graph": ("etcdcompute.cli.graph:graph", "Ask placement's graph, carry it from store to store, and try it out."),
    "scheduler": ("etcdcompute.cli.scheduler:scheduler", "Run the scheduler."),
    "agent": ("etcdcompute.cli.agent:agent", "Run the agent of this compute host."),
    "config": ("etcdcompute.cli.configuration:config", "Check configuration files."),
    "version": ("etcdcompute.cli.version:version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; its help is made without importing any."""

    def __init__(self, *args: object, nouns: Mapping[str, tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._nouns = nouns

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the nouns."""
        return list(self._nouns)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the noun."""
        if cmd_name not in self._nouns:
            return None
        module, _, attribute = self._nouns[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the nouns and what they are for."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._nouns.items()])


@click.group(
    cls=LazyGroup,
    nouns=_NOUNS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration. Default: $ETCDCOMPUTE_CONFIG, else /etc/etcdcompute/etcdcompute.yaml if there is one.",
)
@click.option("--debug", is_flag=True, help="Show a traceback where the program itself is at fault.")
@click.version_option(__version__, prog_name="etcdcompute")
@click.pass_context
def cli(context: click.Context, config_path: Path | None, debug: bool) -> None:
    """VMs on your own hosts: desired state in etcd, placement on a graph, libvirt underneath.

    Exit status: 0 done, 1 failed, 2 wrong input, 3 not found, 4 taken or changed meanwhile, 5 etcd or placement not
    available, 6 access denied, 7 not finished in time, 130 interrupted.
    """
    # What the store's client has to say while a command waits; daemons set up their own log.
    logging.basicConfig(level=logging.WARNING, format="etcdcompute: %(message)s")
    context.obj = context.with_resource(Context(config_path=config_path))
    context.meta["etcdcompute.debug"] = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit; an expected error is one sentence on standard error, never a traceback."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(args=given, prog_name="etcdcompute", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return exitcodes.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exitcodes.OK
    except EtcdComputeError as error:
        _complain(str(error))
        return exitcodes.compute_exit_code(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person gets a sentence
        if "--debug" in given:
            traceback.print_exc()
        _complain(f"internal error: {type(error).__name__}: {error} (--debug before the command shows where)")
        return exitcodes.FAILED
    return result if isinstance(result, int) else exitcodes.OK


def _complain(sentence: str) -> None:
    click.echo(f"etcdcompute: {sentence}", err=True)
