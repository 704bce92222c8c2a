"""What commands print: results on standard output, remarks and progress on standard error."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

FORMATS = ("table", "json", "yaml")

Command = TypeVar("Command", bound=Callable[..., Any])


def format_option(command: Command) -> Command:
    """Add `--format`."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="A table for people; JSON and YAML have everything.",
    )(command)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below their headers; what is empty is shown as a dash."""
    from tabulate import tabulate

    shown = [["-" if cell in ("", None) else str(cell) for cell in row] for row in rows]
    click.echo(tabulate(shown, headers=headers, tablefmt="simple", disable_numparse=True))


def print_data(data: object, output_format: str) -> None:
    """Print plain values as JSON or YAML."""
    if output_format == "json":
        import json

        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing, a line a field; fields without a value are left out."""
    present = {name: value for name, value in fields.items() if value not in ("", None)}
    width = max(map(len, present), default=0)
    for name, value in present.items():
        click.echo(f"{name:<{width}}  {value}")


def remark(sentence: str) -> None:
    """Say something on standard error."""
    click.echo(sentence, err=True)
