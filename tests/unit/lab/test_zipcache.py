"""The bytecode of what is imported out of archives, as machine nodes keep it."""

import subprocess
import sys
import zipfile
from pathlib import Path

FILE = Path(__file__).parents[3] / "lab" / "files" / "zipcache"


def run(tmp_path: Path, source: str, *, folder: Path | None = None) -> str:
    """Import a module of this source from an archive in a Python with the cache in `folder`; return what it prints."""
    folder = folder or tmp_path / "cache"
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("sent.py", source)
    program = FILE.read_text().replace("/var/cache/etcdcompute-lab/{sys.implementation.cache_tag}", str(folder))
    (tmp_path / "start.py").write_text(
        f"{program}\nsys.path.insert(0, {str(tmp_path / 'modules.zip')!r})\nimport sent\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "start.py"], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_second_import_is_from_the_cache_and_the_same(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    assert run(tmp_path, "print('one')") == "one\n"
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    assert run(tmp_path, "print('one')") == "one\n"
    assert kept.stat().st_mtime_ns == before


def test_another_source_is_another_code(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    assert run(tmp_path, "print('one')") == "one\n"
    assert run(tmp_path, "print('two')") == "two\n"


def test_what_is_damaged_or_cannot_be_kept_is_compiled(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    run(tmp_path, "print('one')")
    for damage in (b"", b"no bytecode"):
        next(cache.iterdir()).write_bytes(damage)
        assert run(tmp_path, "print('one')") == "one\n"
    assert run(tmp_path, "print('one')", folder=tmp_path / "absent") == "one\n"
