"""The command line: `python3 -m guest build` and `python3 -m guest check`."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guest import packages
from guest.build import DEFAULT_OUTPUT, build
from guest.errors import GuestError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did what was asked, 1 with a sentence on standard error when not."""
    parser = argparse.ArgumentParser(prog="guest", description="Build the guest image from Debian's packages.")
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build the image, unless it is there already")
    builder.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="default: %(default)s")
    builder.add_argument("--force", action="store_true", help="build even if nothing has changed")
    checker = commands.add_parser("check", help="say whether everything needed is installed")
    checker.add_argument("--install", action="store_true", help="install what is missing, and apt's index (root)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "check":
            return _check(install=options.install)
        return _build(options.output, force=options.force)
    except GuestError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1


def _build(output: Path, *, force: bool) -> int:
    _require_tools()
    started = time.monotonic()
    built = build(output, force=force, progress=lambda step: print(f"guest: {step}", file=sys.stderr, flush=True))
    state = f"built in {time.monotonic() - started:.0f} s" if built.is_new else "there already"
    print(f"{built.path} {built.size / 2**20:.1f} MiB sha256:{built.sha256} ({state})")
    return 0


def _check(*, install: bool) -> int:
    if install:
        if os.geteuid() != 0:
            raise GuestError("--install changes the system: run it as root")
        subprocess.run(["apt-get", "update", "-q"], check=False)
        if missing := packages.missing_tools():
            subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], check=False)
    _require_tools()
    versions = packages.resolve()
    print(f"guest: everything is there; apt knows the {len(versions)} packages of the recipe")
    return 0


def _require_tools() -> None:
    if missing := packages.missing_tools():
        raise GuestError(f"missing programs: run `apt-get install {' '.join(missing)}` as root")


if __name__ == "__main__":
    sys.exit(main())
