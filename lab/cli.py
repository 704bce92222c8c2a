"""The command line: `python3 -m lab`."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab import base, installedbase, machinebase, preflight, sizes
from lab.commands import succeeds
from lab.errors import LabError, PreflightError
from lab.layout import CHECKOUT, Layout, check_name, labs_in
from lab.machine import (
    DEFAULT_KIND,
    DEFAULT_PACKAGES,
    DEFAULT_RELEASE,
    KINDS,
    Lab,
    Wishes,
    checked_packages,
    make_driver,
)
from lab.nodefiles import remove_tree
from lab.progress import Progress
from lab.state import PACKAGES, Bind
from lab.surroundings import fetch_surroundings

DEFAULT_NAME = "dev"
# What needs no root: it only reads the lab's files and keys.
UNPRIVILEGED = ("exec", "ssh", "list")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (2: a preflight check failed and nothing was changed)."""
    options = _parser().parse_args(arguments)
    progress = Progress()
    try:
        if options.command not in UNPRIVILEGED:
            _become_root(arguments)
            _refuse_without_root(options.command)
        return _run(options, progress)
    except PreflightError as error:
        progress.say("can't do that yet; nothing was changed:")
        for problem in error.problems:
            progress.say(f"  - {problem}")
        return 2
    except LabError as error:
        progress.say(f"error: {error}")
        return 1
    except OSError as error:
        progress.say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        progress.say("interrupted: `up` goes on from here, `down` removes what there is")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab",
        description="Makes and removes labs: Debian machines on this machine, with addresses of their own.",
        epilog="LAB_NAME, LAB_NODES (the kind), LAB_RELEASE, LAB_SUBNET, LAB_NODE_NAMES, LAB_MIRROR, LAB_PACKAGES, "
        "LAB_VM_CPUS, LAB_VM_MEMORY_MIB and LAB_VM_DISK_GIB take the place of options not given.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, *, lab: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        if lab:
            default = os.environ.get("LAB_NAME") or DEFAULT_NAME
            added.add_argument("--name", default=default, help="the lab's name (default: %(default)s)")
        return added

    def release(added: argparse.ArgumentParser) -> None:
        added.add_argument("--release", choices=base.RELEASES, help=f"Debian release (default: {DEFAULT_RELEASE})")
        added.add_argument("--mirror", help="Debian mirror (default: the one that this machine's apt uses)")

    def kind(added: argparse.ArgumentParser) -> None:
        added.add_argument("--kind", choices=KINDS, help=f"what the nodes are (default: {DEFAULT_KIND})")

    def packages(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--packages",
            choices=PACKAGES,
            help="what the base holds of the packages that the roles install: have them installed, or only downloaded "
            f"for the roles to install (default: {DEFAULT_PACKAGES})",
        )

    def wishes(added: argparse.ArgumentParser) -> None:
        release(added)
        kind(added)
        packages(added)
        add = added.add_argument
        add("--controllers", help="how many of the nodes, from the first on, are controllers (default: 1)")
        add("--cpus", help=f"processors of a node that is a vm (default: {sizes.DEFAULT.cpus})")
        add("--memory-mib", help=f"its memory (default: {sizes.DEFAULT.memory_mib})")
        add("--disk-gib", help=f"its disk, of which only what is used takes room ({sizes.DEFAULT.disk_gib})")
        add("--nodes", help="comma-separated names (default: etcd1,etcd2,etcd3); the first is the controller")
        add("--subnet", help="CIDR of the lab's network, or auto (the default): a free one")
        add("--bind", action="append", metavar="SRC:DST", help="show SRC of this machine at DST in every node")

    wishes(command("up", "Make or repair a lab; a running one stays as it is."))
    command("down", "Remove a lab: processes, mounts, network, files. The cache stays.")
    command("clean", "Remove all labs of this checkout, and the cache with the bases.", lab=False)
    command("status", "Say what there is of a lab.")
    command("list", "Name the labs of this checkout.", lab=False)
    only_base = command("base", "Build the base that nodes are made from, nothing else.", lab=False)
    release(only_base)
    kind(only_base)
    packages(only_base)
    check = command("check", "Say what would keep `up` with the same options from its work; change nothing.")
    wishes(check)
    check.add_argument("--install", action="store_true", help="install missing packages with apt-get")
    check.add_argument("--but-programs", action="store_true", help="leave out programs, which can be installed")
    for name, summary in (
        ("start", "Start a node that was killed, and wait until it has booted."),
        ("kill", "Cut a node's power: everything in it ends at once, its disk stays."),
        ("reboot", "Reboot a node from the inside, and wait until it has booted."),
    ):
        added = command(name, summary)
        added.add_argument("target", nargs="+", metavar="[NAME] NODE", help="the node (with the lab's name before it)")
    command(
        "console", "The node's console; for a container a shell in it. Reaches a node without network."
    ).add_argument("node")
    for name in ("exec", "ssh"):
        run = command(name, "Run a command in a node as root (a shell if none is given).")
        run.add_argument("node")
        run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")
    return parser


def _run(options: argparse.Namespace, progress: Progress) -> int:
    whole_machine = {"list": _list, "base": _base, "clean": _clean}
    one_lab = {
        "up": _up, "check": _check, "down": _down, "status": _status, "exec": _exec, "ssh": _exec, "console": _console,
        "start": _start, "kill": _kill, "reboot": _reboot,
    }  # fmt: skip
    if options.command in whole_machine:
        return whole_machine[options.command](options, progress)
    if options.command in ("start", "kill", "reboot"):
        *name, options.node = options.target
        if len(name) > 1:
            raise LabError(f"{options.command} takes a lab's name and a node, not {' '.join(options.target)}")
        options.name = name[0] if name else options.name
    return one_lab[options.command](options, Lab(Layout(check_name(options.name, "lab")), progress))


def _list(_options: argparse.Namespace, _progress: Progress) -> int:
    for name in labs_in(CHECKOUT):
        print(name)
    return 0


def _clean(_options: argparse.Namespace, progress: Progress) -> int:
    for name in labs_in(CHECKOUT):
        Lab(Layout(check_name(name, "lab"), CHECKOUT), progress).down()
    remove_tree(Layout("clean", CHECKOUT).cache)
    return 0


def _up(options: argparse.Namespace, lab: Lab) -> int:
    lab.up(_wishes(options))
    return 0


def _check(options: argparse.Namespace, lab: Lab) -> int:
    wishes = _wishes(options)
    if options.install:
        programs = make_driver(wishes.kind or DEFAULT_KIND, lab.layout, fetch_surroundings()).programs
        preflight.install_programs(lab.progress, programs)
    if problems := lab.problems(wishes, programs=not options.but_programs):
        raise PreflightError(problems)
    lab.progress.say(f"nothing stands in the way of lab {lab.layout.name}")
    return 0


def _down(_options: argparse.Namespace, lab: Lab) -> int:
    lab.down()
    return 0


def _start(options: argparse.Namespace, lab: Lab) -> int:
    lab.start(options.node)
    return 0


def _kill(options: argparse.Namespace, lab: Lab) -> int:
    lab.kill(options.node)
    return 0


def _reboot(options: argparse.Namespace, lab: Lab) -> int:
    lab.reboot(options.node)
    return 0


def _wishes(options: argparse.Namespace) -> Wishes:
    nodes = options.nodes or os.environ.get("LAB_NODE_NAMES")
    return Wishes(
        nodes=tuple(name.strip() for name in nodes.split(",") if name.strip()) if nodes else None,
        release=_release(options),
        subnet=options.subnet or os.environ.get("LAB_SUBNET") or None,
        binds=tuple(_bind(text) for text in options.bind) if options.bind else None,
        mirror=options.mirror or os.environ.get("LAB_MIRROR") or None,
        controllers=_controllers(options),
        kind=_kind(options),
        sizes=_sizes(options),
        packages=_packages(options),
    )


def _controllers(options: argparse.Namespace) -> int | None:
    text = options.controllers or os.environ.get("LAB_CONTROLLERS") or None
    if text is not None and not text.isdecimal():
        raise LabError(f"--controllers {text} is no number of nodes")
    return int(text) if text else None


def _kind(options: argparse.Namespace) -> str | None:
    kind = options.kind or os.environ.get("LAB_NODES") or None
    if kind is not None and kind not in KINDS:
        raise LabError(f"LAB_NODES={kind} is not known: nodes are one of {', '.join(KINDS)}")
    return kind


def _packages(options: argparse.Namespace) -> str | None:
    packages = options.packages or os.environ.get("LAB_PACKAGES") or None
    if packages is not None and packages not in PACKAGES:
        raise LabError(f"LAB_PACKAGES={packages} is not known: packages are one of {', '.join(PACKAGES)}")
    return packages


def _sizes(options: argparse.Namespace) -> sizes.Sizes | None:
    return sizes.parse(
        getattr(options, "cpus", None) or os.environ.get("LAB_VM_CPUS") or None,
        getattr(options, "memory_mib", None) or os.environ.get("LAB_VM_MEMORY_MIB") or None,
        getattr(options, "disk_gib", None) or os.environ.get("LAB_VM_DISK_GIB") or None,
    )


def _release(options: argparse.Namespace) -> str | None:
    release = options.release or os.environ.get("LAB_RELEASE") or None
    if release is not None and release not in base.RELEASES:
        raise LabError(f"LAB_RELEASE={release} is not known: it is one of {', '.join(base.RELEASES)}")
    return release


def _bind(text: str) -> Bind:
    source, colon, target = text.partition(":")
    if not colon or not target.startswith("/") or ".." in Path(target).parts:
        raise LabError(f"--bind {text} is not SRC:DST with an absolute DST, such as --bind dist:/srv/dist")
    return Bind(str(Path(source).resolve()), target)


def _status(_options: argparse.Namespace, lab: Lab) -> int:
    rows = [("NODE", "ADDRESS", "STATE", "PID"), *lab.status()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0 if all(row[2] == "running" for row in rows[1:]) else 3


def _base(options: argparse.Namespace, progress: Progress) -> int:
    layout = Layout("base")
    surroundings = fetch_surroundings(options.mirror or os.environ.get("LAB_MIRROR"))
    kind, release = _kind(options) or DEFAULT_KIND, _release(options) or DEFAULT_RELEASE
    if problems := preflight.machine_problems(make_driver(kind, layout, surroundings).programs):
        raise PreflightError(problems)
    packages = checked_packages(kind, _packages(options))
    if kind == "vm":
        built = machinebase.build(layout.cache, release, surroundings, progress).folder
    else:
        containers = installedbase if packages == "installed" else base
        built = containers.build(layout.cache, release, surroundings, progress).root
    progress.say(f"base: {built}")
    return 0


def _console(options: argparse.Namespace, lab: Lab) -> int:
    """Become the console's program, which has the terminal to itself."""
    command = lab.console_command(options.node)
    os.execvp(command[0], command)  # noqa: S606


def _exec(options: argparse.Namespace, lab: Lab) -> int:
    """Become the SSH client, so that input, output and exit status are the command's."""
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    terminal = ["-t"] if sys.stdin.isatty() and not argv else []
    command = lab.ssh_command(options.node, *terminal)
    if not os.access(lab.layout.user_key, os.R_OK):
        raise LabError(f"{lab.layout.user_key} is not yours to read: run this as root or as the user who made the lab")
    os.execvp(command[0], [*command, *(["--", _shell(argv)] if argv else [])])  # noqa: S606


def _shell(argv: Sequence[str]) -> str:
    """Return the arguments as the one string SSH passes on; a single one is taken for shell code, as ssh does."""
    return argv[0] if len(argv) == 1 else shlex.join(argv)


def _refuse_without_root(command: str) -> None:
    """Without root there is nothing to do but to say what else is missing, so that it can be put right in one go."""
    problems = preflight.privilege_problems()
    if problems and command != "check":
        raise PreflightError([*problems, *preflight.machine_problems()])


def _become_root(arguments: Sequence[str] | None) -> None:
    """Start again under sudo where that lets us; otherwise the preflight says that root is missing."""
    if os.geteuid() == 0 or not _may_sudo():
        return
    # While we are still ourselves: what root made first would be closed to the rest of the Makefile.
    with suppress(OSError):
        (CHECKOUT / ".cache").mkdir(exist_ok=True)
    argv = list(sys.argv[1:] if arguments is None else arguments)
    kept = [f"{key}={value}" for key, value in os.environ.items() if key.startswith("LAB_")]
    command = ["sudo", "env", f"PYTHONPATH={CHECKOUT}", *kept, sys.executable, "-m", "lab", *argv]
    os.execvp("sudo", command)  # noqa: S606


def _may_sudo() -> bool:
    """Return whether sudo lets us, with a password only at a terminal, where it asks for that itself."""
    if succeeds(["sudo", "-n", "true"]):
        return True
    if shutil.which("sudo") is None or not sys.stdin.isatty():
        return False
    return subprocess.run(["sudo", "--validate"], check=False).returncode == 0
