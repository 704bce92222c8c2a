"""Fetch the Neo4j Community server from Maven Central: the jars that the vendor's own archive holds, and nothing else.

Runs on the control machine, which needs Maven. Prints a JSON object: `archive` (the path of a tar file with one
folder, `lib`), `lib` (the same jars, unpacked, for who runs the server on this machine), `version` and `fetched` (false
where the cache had it). Maven checks each jar against the repository's checksum. The version is a fixed one: to resolve
a range takes Maven minutes.
"""

import argparse
import fcntl
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>etcdcompute</groupId>
  <artifactId>neo4j-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{version}</version></dependency>
  </dependencies>
</project>
"""
MAIN_JAR = "neo4j-server-{version}.jar"
MOST_S = 1800


class FetchError(Exception):
    """The server cannot be had; the message is one sentence for the operator."""


def main() -> int:
    """Read the arguments, fetch or find the server, print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--version", required=True, help="a fixed version, such as 5.26.30")
    parser.add_argument("--cache", required=True, type=Path)
    arguments = parser.parse_args()
    try:
        print(json.dumps(fetch(arguments.version, arguments.cache)))
    except FetchError as error:
        print(f"fetch_neo4j: {error}", file=sys.stderr)
        return 1
    return 0


def fetch(version: str, cache: Path) -> dict[str, object]:
    """Return where the server of a version is, fetched once."""
    if not re.fullmatch(r"[0-9]+[.][0-9]+[.][0-9]+", version):
        raise FetchError(f"version {version!r} is none; it is a fixed one with three numbers, such as 5.26.30")
    cache = cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    lib, archive = cache / f"neo4j-{version}" / "lib", cache / f"neo4j-{version}.tar"
    with _locked(cache / "lock"):
        fetched = not (lib.is_dir() and archive.is_file())
        if fetched:
            _make(version, cache, lib.parent, archive)
    return {"archive": str(archive), "lib": str(lib), "version": version, "fetched": fetched}


def _make(version: str, cache: Path, folder: Path, archive: Path) -> None:
    """Fetch into a folder of its own; what stands under the final names is whole."""
    print(f"fetching Neo4j {version} from Maven Central (213 jars, 123 MB)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        work = Path(made)
        (work / "pom.xml").write_text(POM.format(version=version))
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", f"{PLUGIN}:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={work / 'new' / 'lib'}"]
        try:
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=MOST_S, check=False)
        except FileNotFoundError:
            raise FetchError("mvn is not there; install Maven (Debian: apt-get install maven)") from None
        except subprocess.TimeoutExpired:
            raise FetchError(f"Maven did not end within {MOST_S} s; is Maven Central reachable?") from None
        if done.returncode != 0:
            said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            raise FetchError(f"Maven failed: {said[0] if said else 'it does not say why'}")
        if not (work / "new" / "lib" / MAIN_JAR.format(version=version)).is_file():
            raise FetchError(f"what Maven fetched has no {MAIN_JAR.format(version=version)}")
        with tarfile.open(work / "archive", "w") as tar:
            for jar in sorted((work / "new" / "lib").iterdir()):
                tar.add(jar, f"lib/{jar.name}", filter=_plain)
        shutil.rmtree(folder, ignore_errors=True)
        (work / "new").rename(folder)
        (work / "archive").rename(archive)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out of the archive when and by whom it was made: the same version is the same archive."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = "root"
    info.mode = 0o644
    return info


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold others off: several hosts may be played at once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
