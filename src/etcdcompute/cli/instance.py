"""`etcdcompute instance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcdcompute.cli.output import format_option, print_data, print_fields, print_table, remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from etcdcompute.cli.context import Context
    from etcdcompute.model import Instance, InstanceStatus, PowerState
    from etcdcompute.operations import InstanceRow

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def _wait_options(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        timed = click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0, min_open=True),
            default=300.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait.",
        )(command)
        return click.option("--wait/--no-wait", default=True, show_default=True, help=what)(timed)

    return add


@click.group()
def instance() -> None:
    """Create, show, change and delete instances. INSTANCE is a name or a uuid."""


@instance.command("list")
@format_option
@click.pass_obj
def list_(context: Context, output_format: str) -> None:
    """List all instances."""
    from etcdcompute.operations import list_instances

    rows = list_instances(context.store)
    if output_format != "table":
        print_data([row.to_mapping() for row in rows], output_format)
        return
    print_table(
        ("NAME", "STATE", "HOST", "ADDRESSES", "MESSAGE"),
        [(row.name, row.state, _host(row), _addresses(row), row.message) for row in rows],
    )


@instance.command()
@click.argument("reference", metavar="INSTANCE")
@format_option
@click.pass_obj
def show(context: Context, reference: str, output_format: str) -> None:
    """Show one instance."""
    from etcdcompute.operations import find_instance

    row = find_instance(context.store, reference)
    if output_format != "table":
        print_data(row.to_mapping(), output_format)
        return
    wanted, status = row.instance, row.status
    fields: dict[str, object] = {
        "name": row.name,
        "uuid": row.key,
        "state": row.state,
        "since": status.phase_since if status else "",
        "host": _host(row),
        "addresses": _addresses(row),
        "code": status.code if status else "",
        "message": row.message,
    }
    if wanted is not None:
        fields |= {
            "power state": f"{wanted.power_state} wanted",
            "resources": ", ".join(f"{name}:{amount}" for name, amount in wanted.resources.items()),
            "required traits": ", ".join(wanted.required_traits),
            "forbidden traits": ", ".join(wanted.forbidden_traits),
            "networks": ", ".join(each.network or f"bridge {each.bridge}" for each in wanted.networks),
            "image": wanted.image.url,
            "sha256": wanted.image.sha256,
            "created": wanted.created_at,
            "generation": f"{wanted.generation}, observed {status.observed_generation if status else 'none yet'}",
        }
    print_fields(fields)


@instance.command()
@click.argument("name", required=False)
@click.option(
    "--file",
    "spec_file",
    type=_FILE,
    help="A YAML file with the fields of an instance, instead of the options below.",
)
@click.option("--image", metavar="URL", help="http(s)://, file:// or an absolute path on the compute host.")
@click.option("--sha256", metavar="SUM", help="The image's SHA-256 sum.")
@click.option("--image-format", type=click.Choice(("qcow2", "raw")), help="The image's format; qcow2 unless given.")
@click.option("--vcpus", type=int, metavar="N")
@click.option("--memory", type=int, metavar="MIB")
@click.option("--disk", type=int, metavar="GIB")
@click.option("--resource", "resources", multiple=True, metavar="CLASS:AMOUNT", help="Another resource; repeatable.")
@click.option("--trait", "traits", multiple=True, metavar="TRAIT", help="One that the host must have; repeatable.")
@click.option(
    "--forbidden-trait",
    "forbidden_traits",
    multiple=True,
    metavar="TRAIT",
    help="One that the host must not have; repeatable.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME",
    help="A libvirt network, or bridge:NAME for a bridge on the host; one card each. libvirt's `default` unless given.",
)
@click.option("--ssh-key", "ssh_key_files", multiple=True, type=_FILE, help="A file with public keys; repeatable.")
@click.option("--user-data", "user_data_file", type=_FILE, help="A file for cloud-init in the guest.")
@_wait_options("Wait until it runs.")
@click.pass_obj
def create(
    context: Context, /, name: str | None, spec_file: Path | None, wait: bool, timeout_s: float, **options: Any
) -> None:
    """Create an instance and print its uuid.

    Needed are NAME, --image, --sha256, --vcpus, --memory and --disk; or --file, with NAME to override the file's.
    """
    from etcdcompute.cli.instance_spec import build_spec
    from etcdcompute.operations import create_instance
    from etcdcompute.operations.specs import build_instance, read_spec

    if spec_file is not None:
        given = sorted(option for option, value in options.items() if value)
        if given:
            raise click.UsageError(f"--file says it all; leave out the options for {', '.join(given)}")
        spec = read_spec(spec_file) | ({"name": name} if name else {})
        new = build_instance(spec, source=str(spec_file))
    else:
        new = build_instance(build_spec(name, options), source="instance create")
    create_instance(context.store, new)
    click.echo(new.uuid)
    if wait:
        _wait(context, new, timeout_s)


@instance.command()
@click.argument("references", metavar="INSTANCE...", nargs=-1, required=True)
@_wait_options("Wait until it is gone.")
@click.pass_obj
def delete(context: Context, references: tuple[str, ...], wait: bool, timeout_s: float) -> None:
    """Delete instances with their disks; that one is not there is success."""
    from etcdcompute.deadline import Deadline
    from etcdcompute.operations import delete_instance, wait_until_gone

    deadline = Deadline.after(timeout_s)
    going = {}
    for reference in references:
        key = delete_instance(context.store, reference)
        if key is None:
            remark(f"{reference}: is not there")
        else:
            going[reference] = key
    for reference, key in going.items():
        if wait:
            wait_until_gone(context.store, key, name=reference, timeout_s=max(0.1, deadline.remaining_s))
        remark(f"{reference}: {'is gone' if wait else 'will be deleted'}")


@instance.command()
@click.argument("reference", metavar="INSTANCE")
@_wait_options("Wait until it runs.")
@click.pass_obj
def start(context: Context, reference: str, wait: bool, timeout_s: float) -> None:
    """Start an instance; that it is started already is success."""
    from etcdcompute.model import PowerState

    _set_power_state(context, reference, PowerState.RUNNING, timeout_s if wait else None)


@instance.command()
@click.argument("reference", metavar="INSTANCE")
@_wait_options("Wait until it is stopped.")
@click.pass_obj
def stop(context: Context, reference: str, wait: bool, timeout_s: float) -> None:
    """Stop an instance; it keeps its disk, its addresses and its place on the host."""
    from etcdcompute.model import PowerState

    _set_power_state(context, reference, PowerState.STOPPED, timeout_s if wait else None)


def _set_power_state(context: Context, reference: str, wanted: PowerState, timeout_s: float | None) -> None:
    from etcdcompute.operations import set_power_state

    changed, is_change = set_power_state(context.store, reference, wanted)
    if not is_change:
        remark(f"{changed.name}: {wanted} is what it was asked to be already")
    if timeout_s is not None:
        _wait(context, changed, timeout_s)


def _wait(context: Context, wanted: Instance, timeout_s: float) -> None:
    from etcdcompute.operations import wait_until_settled

    def report(status: InstanceStatus) -> None:
        where = f" on {status.host}" if status.host else ""
        remark(f"{wanted.name}: {status.phase}{where}" + (f", {status.message}" if status.message else ""))

    wait_until_settled(context.store, wanted, timeout_s=timeout_s, on_progress=report)


def _host(row: InstanceRow) -> str:
    if row.status is None or not row.status.host:
        return ""
    return row.status.host + ("" if row.host_alive else " (host down)")


def _addresses(row: InstanceRow) -> str:
    return ", ".join(each.ip for each in row.status.addresses) if row.status else ""
