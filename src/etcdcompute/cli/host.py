"""`etcdcompute host`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from etcdcompute.cli.output import format_option, print_data, print_fields, print_table, remark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etcdcompute.cli.context import Context
    from etcdcompute.errors import EtcdComputeError
    from etcdcompute.operations import HostRow


@click.group()
def host() -> None:
    """Show compute hosts, and keep new instances off them. HOST is a name or a uuid."""


@host.command("list")
@format_option
@click.pass_obj
def list_(context: Context, output_format: str) -> None:
    """List all hosts with what is used of them.

    Used is what instances have claimed; total is what they may claim, (total - reserved) x allocation ratio.
    """
    from etcdcompute.operations import list_hosts

    rows, problem = _add_resources(context, list_hosts(context.store))
    if output_format != "table":
        print_data([row.to_mapping() for row in rows], output_format)
    else:
        print_table(
            ("NAME", "STATE", "VCPU", "MEMORY MiB", "DISK GiB", "VIRT", "INSTANCES", "MESSAGE"),
            [
                (
                    row.name,
                    row.state,
                    *(_use(row, resource) for resource in ("VCPU", "MEMORY_MB", "DISK_GB")),
                    row.host.capabilities.virt_type if row.host else "",
                    row.instances,
                    row.message,
                )
                for row in rows
            ],
        )
    if problem is not None:
        raise problem


@host.command()
@click.argument("reference", metavar="HOST")
@format_option
@click.pass_obj
def show(context: Context, reference: str, output_format: str) -> None:
    """Show one host."""
    from etcdcompute.operations import find_host

    (row,), problem = _add_resources(context, [find_host(context.store, reference)])
    if output_format != "table":
        print_data(row.to_mapping(), output_format)
    else:
        known = row.host
        fields: dict[str, object] = {
            "name": row.name,
            "uuid": row.uuid,
            "state": row.state,
            "message": row.message,
            "instances": row.instances,
        }
        for resource, use in (row.resources or {}).items():
            fields[resource] = f"{use.used} of {use.capacity} used ({use.total} physically)"
        if known is not None:
            fields |= {
                "address": known.address,
                "virtualisation": f"{known.capabilities.virt_type}, {known.capabilities.virt_reason}",
                "architecture": known.capabilities.arch,
                "etcdcompute": known.versions.etcdcompute,
                "libvirt": known.versions.libvirt,
                "qemu": known.versions.qemu,
                "kernel": known.versions.kernel,
                "registered": known.registered_at,
                "updated": known.updated_at,
            }
        print_fields(fields)
    if problem is not None:
        raise problem


@host.command()
@click.argument("reference", metavar="HOST")
@click.pass_obj
def cordon(context: Context, reference: str) -> None:
    """Keep new instances off a host; those that it has stay."""
    _set_cordoned(context, reference, cordoned=True)


@host.command()
@click.argument("reference", metavar="HOST")
@click.pass_obj
def uncordon(context: Context, reference: str) -> None:
    """Let new instances come to a host again."""
    _set_cordoned(context, reference, cordoned=False)


def _set_cordoned(context: Context, reference: str, *, cordoned: bool) -> None:
    from etcdcompute.operations import set_cordoned

    changed, is_change = set_cordoned(context.store, reference, cordoned=cordoned)
    remark(f"{changed.name}: {'' if is_change else 'already '}{'cordoned' if cordoned else 'not cordoned'}")


def _add_resources(context: Context, rows: Iterable[HostRow]) -> tuple[list[HostRow], EtcdComputeError | None]:
    """Ask placement about each host; where it fails the hosts are shown without, and the error is returned."""
    from dataclasses import replace

    from etcdcompute.errors import EtcdComputeError
    from etcdcompute.operations.hosts import fetch_resources

    shown: list[HostRow] = []
    problem: EtcdComputeError | None = None
    for row in rows:
        if problem is None:
            try:
                shown.append(replace(row, resources=fetch_resources(context.placement, row.uuid)))
                continue
            except EtcdComputeError as error:
                problem = error
        shown.append(row)
    return shown, problem


def _use(row: HostRow, resource: str) -> str:
    if row.resources is None:
        return "?"
    use = row.resources.get(resource)
    return f"{use.used}/{use.capacity}" if use else ""
