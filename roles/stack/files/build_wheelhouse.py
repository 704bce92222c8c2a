"""Make one archive with the project's wheel and all it depends on, for the Python of another machine.

Runs on the control machine. Prints a JSON object: `archive` (its path), `release` (version and checksum: the name
under which nodes install it) and `built` (false where the cache had it). The cache is keyed by what goes in: the
project's sources for the project's wheel, its requirements for the dependencies. A changed source file therefore
never changes the versions of dependencies; removing the cache's folder fetches their newest.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # a bare Python with pip has it inside pip
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement  # type: ignore[assignment]
    from pip._vendor.packaging.utils import canonicalize_name  # type: ignore[assignment]

FORMAT = 2  # raise it when the archive's layout changes
# What the project's wheel is installed with, on every host: which store placement keeps its graph in may change.
EXTRAS = ("neo4j",)
# Published as source only; pure Python, so that the wheel made here serves every machine.
SOURCE_ONLY = frozenset({"etcd3"})
# What wheels of the two supported releases (glibc 2.36 and 2.41) may be tagged with; pip adds older ones itself.
PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
# Fixed, so that the same sources make the same wheel and nodes see no change (1980-01-01, the first that zip knows).
TIMESTAMP = "315532800"
KEPT_ARCHIVES = 4


class BuildError(Exception):
    """The wheelhouse cannot be made; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Target:
    """The machine to install on."""

    python: str  # "3.13"
    architecture: str  # "x86_64"

    def environment(self, extra: str = "") -> dict[str, str]:
        """Return the values of dependency markers there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.architecture,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": extra,
        }

    def options(self) -> list[str]:
        """Return pip's options for wheels that work there."""
        platforms = [f"--platform={name}_{self.architecture}" for name in PLATFORMS]
        return ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.python}", *platforms]


def main() -> int:
    """Read the arguments, make or find the archive, print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="checkout, wheel or requirement (NAME==VERSION)")
    parser.add_argument("--python", required=True, help="version of the target's Python, such as 3.13")
    parser.add_argument("--architecture", required=True, help="the target's, such as x86_64")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--constraints", type=Path, help="a pip constraints file for the dependencies")
    arguments = parser.parse_args()
    try:
        result = find_or_build(
            arguments.source,
            Target(arguments.python, arguments.architecture),
            arguments.cache,
            arguments.constraints.read_text(encoding="utf-8") if arguments.constraints else "",
        )
    except (BuildError, OSError) as error:
        print(f"the wheelhouse cannot be made: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def find_or_build(source: str, target: Target, cache: Path, constraints: str) -> dict[str, object]:
    """Return `archive`, `release` and `built` for a source, from the cache where that has it."""
    key = digest([FORMAT, source_digest(source), target.python, target.architecture, constraints])
    suffix = f"py{target.python.replace('.', '')}-{target.architecture}"
    archive = cache / f"etcdcompute-{suffix}-{key}.tar"
    record = archive.with_suffix(".json")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        # Two playbooks may run at once on one control machine.
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = not (archive.is_file() and record.is_file())
        if built:
            with tempfile.TemporaryDirectory(prefix=".build-", dir=cache) as temporary:
                release = build(source, target, cache, constraints, Path(temporary), archive)
            record.write_text(json.dumps({"release": release}), encoding="utf-8")
        os.utime(archive)
        remove_old(cache, suffix)
    return {"archive": str(archive.resolve()), "built": built, **json.loads(record.read_text(encoding="utf-8"))}


def build(source: str, target: Target, cache: Path, constraints: str, folder: Path, archive: Path) -> str:
    """Build the project's wheel, gather its dependencies, pack both; return the release's name."""
    wheel = build_project(source, folder, target)
    requirements = sorted(requirements_of(wheel, target, EXTRAS))
    dependencies = gather_dependencies(requirements, target, cache, constraints, folder)
    partial = folder / archive.name
    pack([wheel, *sorted(dependencies.glob("*.whl"))], partial)
    version = wheel.name.split("-")[1]
    release = f"{version}-{hashlib.sha256(partial.read_bytes()).hexdigest()[:12]}"
    partial.replace(archive)
    return release


def build_project(source: str, folder: Path, target: Target) -> Path:
    """Return the project's wheel, built in a copy: setuptools leaves files in the tree, and reuses stale ones."""
    out = folder / "project"
    out.mkdir()
    if Path(source).is_dir():
        copy = folder / "source"
        for path, relative in source_files(Path(source)):
            (copy / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / relative)
        pip("wheel", "--no-deps", f"--wheel-dir={out}", str(copy))
    elif source.endswith(".whl"):
        shutil.copy(source, out)
    else:
        pip("download", "--no-deps", *target.options(), f"--dest={out}", source)
    return next(out.glob("*.whl"))


def gather_dependencies(requirements: list[str], target: Target, cache: Path, constraints: str, folder: Path) -> Path:
    """Return a folder of wheels that satisfy the requirements on the target, pip itself among them."""
    key = digest([FORMAT, requirements, target.python, target.architecture, constraints])
    final = cache / f"dependencies-{key}"
    if final.is_dir():
        return final
    out = folder / "dependencies"
    out.mkdir()
    limits = []
    if constraints:
        (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
        limits = [f"--constraint={folder / 'constraints.txt'}"]
    for text in requirements:
        if canonicalize_name(Requirement(text).name) in SOURCE_ONLY:
            # Debian 12's pip would otherwise build with setup.py in its own environment, which has no `wheel`.
            pip("wheel", "--use-pep517", "--no-deps", *limits, f"--wheel-dir={out}", text)
    wanted = ["pip", *requirements]
    while True:
        pip("download", *target.options(), *limits, f"--find-links={out}", f"--dest={out}", *wanted)
        # pip evaluates markers (`python_version < "3.13"`) for the Python that runs it: look for what it left out.
        missing = [text for text in needed_by(out.glob("*.whl"), target) if not has_wheel(out, text)]
        if not missing:
            break
        wanted += missing
    out.replace(final)
    return final


def needed_by(wheels: Iterable[Path], target: Target) -> set[str]:
    """Return the requirements of all the wheels."""
    return {text for wheel in wheels for text in requirements_of(wheel, target)}


def requirements_of(wheel: Path, target: Target, extras: Iterable[str] = ()) -> set[str]:
    """Return what a wheel requires on the target with these extras and no others, without markers."""
    with zipfile.ZipFile(wheel) as content:
        name = next(entry for entry in content.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(content.read(name))
    environments = [target.environment(extra) for extra in ("", *extras)]
    found = set()
    for line in metadata.get_all("Requires-Dist", []):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise BuildError(f"{wheel.name} has a requirement that does not parse: {error}") from error
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            requirement.marker = None
            found.add(str(requirement))
    return found


def has_wheel(folder: Path, requirement: str) -> bool:
    """Tell whether there is a wheel of that name; pip has seen to the version."""
    name = canonicalize_name(Requirement(requirement).name)
    return any(canonicalize_name(wheel.name.split("-")[0]) == name for wheel in folder.glob("*.whl"))


def pack(wheels: Iterable[Path], archive: Path) -> None:
    """Write an archive that depends on nothing but the wheels' names and bytes: `wheels/…` and `pip.whl`.

    pip runs from its own wheel (`python3 pip.whl/pip`), so that nodes need neither pip nor ensurepip.
    """
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as out:
        for wheel in wheels:
            is_pip = wheel.name.startswith("pip-")
            entry = tarfile.TarInfo("pip.whl" if is_pip else f"wheels/{wheel.name}")
            entry.size = wheel.stat().st_size
            entry.mode = 0o644
            with wheel.open("rb") as content:
                out.addfile(entry, content)


def source_files(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what the project's wheel is built from: (path, path in the checkout)."""
    if not (root / "pyproject.toml").is_file():
        raise BuildError(f"{root} has no pyproject.toml: name a checkout, a wheel or a requirement")
    paths = [root / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    paths += sorted(path for path in (root / "src").rglob("*"))
    for path in paths:
        relative = path.relative_to(root)
        generated = any(part == "__pycache__" or part.endswith(".egg-info") for part in relative.parts)
        if path.is_file() and not generated:
            yield path, relative


def source_digest(source: str) -> str:
    """Return a checksum of what will be built."""
    if Path(source).is_dir():
        return digest(
            [
                [str(relative), hashlib.sha256(path.read_bytes()).hexdigest()]
                for path, relative in source_files(Path(source))
            ]
        )
    if source.endswith(".whl"):
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return source


def digest(value: object) -> str:
    """Return a short checksum of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def remove_old(cache: Path, suffix: str) -> None:
    """Keep the newest archives of this kind."""
    archives = sorted(cache.glob(f"etcdcompute-{suffix}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in archives[KEPT_ARCHIVES:]:
        archive.unlink()
        archive.with_suffix(".json").unlink(missing_ok=True)


def pip(*arguments: str) -> None:
    """Run this Python's pip; BuildError with what it said last."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": TIMESTAMP}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said or ["pip said nothing"]
        raise BuildError(f"`pip {arguments[0]}` failed: {' / '.join(errors[-3:])}")


if __name__ == "__main__":
    sys.exit(main())
