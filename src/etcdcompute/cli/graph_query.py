"""`etcdcompute graph query`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from etcdcompute.cli.output import print_data, print_table, remark

if TYPE_CHECKING:
    from typing import IO, Any

    from etcdcompute.cli.context import Context


@click.command(short_help="Put a query in Cypher to the graph in Neo4j.")
@click.argument("statement", metavar="[QUERY]", required=False)
@click.option(
    "--file", "source", type=click.File(encoding="utf-8"), help="Read the query from here; - is standard input."
)
@click.option(
    "--param",
    "given",
    metavar="NAME=TEXT|NAME:=JSON",
    multiple=True,
    help="A value for $NAME in the query, as text or, behind :=, as JSON; may be repeated.",
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=10.0, show_default=True, help="Seconds."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Show at most so many rows."
)
@click.option(
    "--format",
    "--output",
    "output_format",
    type=click.Choice(("table", "json", "yaml")),
    default="table",
    show_default=True,
    help="A table for people; JSON and YAML tell text from numbers.",
)
@click.pass_obj
def query(
    context: Context,
    statement: str | None,
    source: IO[str] | None,
    given: tuple[str, ...],
    timeout_s: float,
    limit: int,
    output_format: str,
) -> None:
    """Put a QUERY in Cypher to the graph, where placement keeps it in Neo4j. It may only read.

    etcdcompute graph query 'MATCH (p:ResourceProvider {name: $name})-[:PROVIDES]->(i)
    RETURN i.resource_class, i.free' --param name=etcd2
    """
    if (statement is None) == (source is None):
        raise click.UsageError("give the query, or --file with it")
    text = statement if source is None else source.read()
    answer = context.placement.query(text or "", _parameters(given), timeout_s=timeout_s, limit=limit)
    if output_format == "table":
        print_table(answer.columns, [[_cell(value) for value in row] for row in answer.rows])
    else:
        print_data(
            {
                "columns": list(answer.columns),
                "rows": answer.rows,
                "truncated": answer.truncated,
                "took_ms": answer.took_ms,
            },
            output_format,
        )
    if answer.truncated:
        remark(f"there are more than these {len(answer.rows)} rows: see --limit")


def _parameters(given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.rstrip(":"):
            raise click.BadParameter(f"{each!r} is not NAME=TEXT or NAME:=JSON", param_hint="--param")
        if not name.endswith(":"):
            found[name] = value
            continue
        try:
            found[name[:-1]] = json.loads(value)
        except ValueError as error:
            raise click.BadParameter(f"{each!r}: behind := stands JSON: {error}", param_hint="--param") from None
    return found


def _cell(value: object) -> object:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
