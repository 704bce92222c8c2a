"""The image cache, fed from files."""

import contextlib
import errno
import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from etcdcompute.agent import images as images_module
from etcdcompute.agent.errors import BuildError, DiskFull, ImageNotFetched, ImageSumWrong
from etcdcompute.agent.images import ImageCache
from etcdcompute.agent.paths import StatePaths
from etcdcompute.model import ImageSource

CONTENT = os.urandom(3 * 1024 * 1024)


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path / "state")
    made.prepare()
    return made


@pytest.fixture
def ready() -> "queue.Queue[str]":
    return queue.Queue()


@pytest.fixture
def cache(paths: StatePaths, ready: "queue.Queue[str]") -> ImageCache:
    return ImageCache(paths, timeout_s=20, on_ready=ready.put)


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    path = tmp_path / "guest image.raw"
    path.write_bytes(CONTENT)
    return ImageSource(
        url=f"file://{tmp_path}/guest%20image.raw", sha256=hashlib.sha256(CONTENT).hexdigest(), format="raw"
    )


def fetch(cache: ImageCache, source: ImageSource, ready: "queue.Queue[str]", waiter: str = "a") -> Path:
    assert cache.request(source, waiter) is None
    assert ready.get(timeout=20) == waiter
    path = cache.request(source, waiter)
    assert path is not None
    return path


def test_an_image_is_fetched_once_and_kept(
    cache: ImageCache, source: ImageSource, ready: "queue.Queue[str]", paths: StatePaths, tmp_path: Path
) -> None:
    path = fetch(cache, source, ready)
    assert path == paths.images / f"{source.sha256}.raw"
    assert path.read_bytes() == CONTENT
    (tmp_path / "guest image.raw").unlink()
    assert cache.request(source, "b") == path


def test_many_waiters_share_one_fetch(
    cache: ImageCache, source: ImageSource, ready: "queue.Queue[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = ImageCache._write

    def counted(self: ImageCache, fetch: object, part: Path) -> int:
        opened.append(part.name)
        return original(self, fetch, part)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageCache, "_write", counted)
    waiters = {f"waiter-{number}" for number in range(20)}
    waiting = {waiter for waiter in waiters if cache.request(source, waiter) is None}
    assert {ready.get(timeout=20) for _ in waiting} == waiting
    assert len(opened) == 1


def test_a_wrong_sum_names_both_and_leaves_nothing(
    cache: ImageCache, source: ImageSource, ready: "queue.Queue[str]", paths: StatePaths
) -> None:
    wrong = msgspec.structs.replace(source, sha256="0" * 64)
    with pytest.raises(ImageSumWrong) as raised:
        fetch(cache, wrong, ready)
    assert source.sha256 in str(raised.value)
    assert wrong.sha256 in str(raised.value)
    assert list(paths.images.iterdir()) == []
    # Asked for again it is tried again.
    assert cache.request(wrong, "a") is None
    assert ready.get(timeout=20) == "a"


def test_what_is_not_there_is_said(cache: ImageCache, ready: "queue.Queue[str]") -> None:
    with pytest.raises(ImageNotFetched, match="/absent/image cannot be read on this host: No such file"):
        fetch(cache, ImageSource(url="/absent/image", sha256="0" * 64), ready)


def test_a_full_disk_leaves_nothing(
    cache: ImageCache,
    source: ImageSource,
    ready: "queue.Queue[str]",
    paths: StatePaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(images_module, "sync_file", full)
    with pytest.raises(DiskFull, match="no space is left"):
        fetch(cache, source, ready)
    assert list(paths.images.iterdir()) == []


def test_a_fetch_nobody_waits_for_ends(
    cache: ImageCache,
    source: ImageSource,
    ready: "queue.Queue[str]",
    paths: StatePaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, withdrawn = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def trickle(_cache: ImageCache, _source: ImageSource) -> Iterator[Iterator[bytes]]:
        def blocks() -> Iterator[bytes]:
            yield bytes(1024)
            begun.set()
            assert withdrawn.wait(20)
            yield bytes(1024)

        yield blocks()

    monkeypatch.setattr(ImageCache, "_open", trickle)
    assert cache.request(source, "a") is None
    assert begun.wait(20)
    thread = next(iter(cache._fetches.values())).thread
    assert thread is not None
    cache.withdraw("a")
    withdrawn.set()
    thread.join(20)
    assert not thread.is_alive()
    assert list(paths.images.iterdir()) == []
    assert ready.empty()


def test_what_an_interrupted_agent_left_is_removed(paths: StatePaths) -> None:
    (paths.images / "abc.raw.1234.part").write_bytes(b"half")
    paths.instance("11111111-2222-3333-4444-555555555555").create()
    half = paths.instance("11111111-2222-3333-4444-555555555555").directory / "disk.qcow2.1234.part"
    half.write_bytes(b"half")
    paths.prepare()
    assert list(paths.images.iterdir()) == []
    assert not half.exists()


def test_errors_have_stable_codes() -> None:
    codes = {each.code for each in BuildError.__subclasses__()}
    assert codes >= {"image_not_fetched", "image_sum_wrong", "image_invalid", "disk_full", "disk_too_small"}


def test_what_is_no_regular_file_holds_nobody(cache: ImageCache, ready: "queue.Queue[str]", tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        source = ImageSource(url=str(path), sha256="0" * 64, format="raw")
        with pytest.raises(ImageNotFetched, match="is not a regular file"):
            fetch(cache, source, ready)
