"""Programs of the unpacked packages, run on the building machine without being installed there."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guest.errors import GuestError

# All times in the image are this one, so that the same packages and recipe give the same bytes: 2020-01-01.
EPOCH_S = 1577836800

_LIBRARY_DIRECTORIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A directory with the files of all packages of the recipe."""

    root: Path

    def find(self, path: str) -> Path:
        """Where a file of the guest's `path` is: Debian 12 has /bin and /lib beside /usr, Debian 13 only in it."""
        for candidate in (self.root / path, self.root / "usr" / path):
            if candidate.exists():
                return candidate
        raise GuestError(f"no package of the recipe holds {path}: has Debian moved it?")

    def find_library(self, soname: str) -> Path:
        """Where a shared library is."""
        for directory in _LIBRARY_DIRECTORIES:
            if (path := self.root / directory / soname).exists():
                return path
        raise GuestError(f"no package of the recipe holds the library {soname}")

    def run(self, program: str, *arguments: str, text: str | None = None) -> str:
        """Run a program of the packages with the packages' own libraries; gives back what it prints."""
        libraries = ":".join(str(self.root / directory) for directory in _LIBRARY_DIRECTORIES)
        loader = self.find("lib64/ld-linux-x86-64.so.2")
        return self._run([str(loader), "--library-path", libraries, str(self.find(program)), *arguments], text)

    def run_native(self, program: str, *arguments: str, text: str | None = None) -> str:
        """Run a program that is static, or that starts others and so has to do with the machine's C library."""
        return self._run([str(self.find(program)), *arguments], text)

    def _run(self, command: Sequence[str], text: str | None) -> str:
        environment = {
            **os.environ,
            "LC_ALL": "C",
            "PATH": f"{self.root / 'usr/bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "MTOOLS_SKIP_CHECK": "1",
            "SOURCE_DATE_EPOCH": str(EPOCH_S),
            "E2FSPROGS_FAKE_TIME": str(EPOCH_S),
        }
        done = subprocess.run(command, env=environment, input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
            raise GuestError(f"{Path(command[0]).name} failed ({done.returncode}): {reason}")
        return done.stdout
