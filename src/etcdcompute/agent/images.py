"""The cache of disk images: each is fetched once per host, checked, and kept under its SHA-256.

An image is in the cache under its final name only when it is whole and its sum is right. Fetching happens in threads
of its own, so that a slow download holds no worker: whoever needs an image asks for it, goes on with other work and
is called when it is there or has failed. When nobody waits for it any more (the instance was deleted), a fetch ends.
"""

import contextlib
import errno
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3

from etcdcompute.agent.disks import read_virtual_size
from etcdcompute.agent.errors import BuildError, DiskFull, ImageNotFetched, ImageSumWrong
from etcdcompute.agent.files import part_of, sync_directory, sync_file
from etcdcompute.agent.paths import StatePaths
from etcdcompute.deadline import Deadline
from etcdcompute.errors import Stopped
from etcdcompute.model import ImageSource

_LOG = logging.getLogger(__name__)

_BLOCK = 1024 * 1024
_CONNECT_TIMEOUT_S = 10.0
_STALL_TIMEOUT_S = 30.0
_PARALLEL = 3
_MIB = 1024**2

Ready = Callable[[str], None]


@dataclass(slots=True)
class _Fetch:
    """One fetch under way: who waits for it, and whether it is still wanted."""

    source: ImageSource
    waiters: set[str]
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class ImageCache:
    """The images of one host. `on_ready` is called with the key of each waiter when its fetch has ended.

    `timeout_s` is what a whole fetch may take, `stall_timeout_s` how long it may go without a byte.
    """

    def __init__(
        self, paths: StatePaths, *, timeout_s: float, on_ready: Ready, stall_timeout_s: float = _STALL_TIMEOUT_S
    ) -> None:
        self._paths = paths
        self._timeout_s = timeout_s
        self._stall_timeout_s = min(stall_timeout_s, timeout_s)
        self._on_ready = on_ready
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_PARALLEL)
        self._fetches: dict[ImageSource, _Fetch] = {}
        self._failures: dict[str, tuple[ImageSource, BuildError]] = {}
        self._closed = False
        self._http = urllib3.PoolManager(retries=urllib3.Retry(connect=2, read=0, redirect=5, status=0))

    def cached(self, source: ImageSource) -> Path | None:
        """Return the image's file if it is in the cache."""
        path = self._paths.image(source)
        return path if path.exists() else None

    def request(self, source: ImageSource, waiter: str) -> Path | None:
        """Return the image's file, or have it fetched and `waiter` called; raises what its last fetch failed with."""
        with self._lock:
            failed = self._failures.pop(waiter, None)
            if failed is not None and failed[0] == source:
                raise failed[1]
            path = self.cached(source)
            if path is not None or self._closed:
                return path
            self._withdraw(waiter, keep=source)
            fetch = self._fetches.get(source)
            if fetch is not None and not fetch.cancelled.is_set():
                fetch.waiters.add(waiter)
                return None
            fetch = _Fetch(source, {waiter})
            fetch.thread = threading.Thread(
                target=self._run, args=(fetch,), name=f"image-{source.sha256[:8]}", daemon=True
            )
            self._fetches[source] = fetch
            fetch.thread.start()
        return None

    def withdraw(self, waiter: str) -> None:
        """Say that `waiter` needs no image any more; a fetch that nobody waits for ends."""
        with self._lock:
            self._failures.pop(waiter, None)
            self._withdraw(waiter)

    def close(self) -> None:
        """End all fetches, leaving nothing half done."""
        with self._lock:
            self._closed = True
            fetches = list(self._fetches.values())
            for fetch in fetches:
                fetch.cancelled.set()
        for fetch in fetches:
            if fetch.thread is not None:
                # A peer that sends nothing holds its thread until the stall time is over; the process need not wait.
                fetch.thread.join(1.0)
        self._http.clear()

    def _withdraw(self, waiter: str, keep: ImageSource | None = None) -> None:
        for fetch in self._fetches.values():
            if fetch.source != keep and waiter in fetch.waiters:
                fetch.waiters.discard(waiter)
                if not fetch.waiters:
                    fetch.cancelled.set()

    def _run(self, fetch: _Fetch) -> None:
        failure: BuildError | None = None
        try:
            with self._slots:
                self._fetch(fetch)
        except Stopped:
            _LOG.info("image %s: nobody waits for it any more", fetch.source.url)
        except BuildError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _LOG.exception("BUG: fetching image %s", fetch.source.url)
            failure = ImageNotFetched(f"image {fetch.source.url} cannot be fetched: {error!r}")
        with self._lock:
            if self._fetches.get(fetch.source) is fetch:
                del self._fetches[fetch.source]
            waiters = set(fetch.waiters)
            if failure is not None:
                self._failures.update(dict.fromkeys(waiters, (fetch.source, failure)))
        for waiter in waiters:
            self._on_ready(waiter)

    def _fetch(self, fetch: _Fetch) -> None:
        source = fetch.source
        path = self._paths.image(source)
        if path.exists():
            return
        began = time.monotonic()
        part = part_of(path)
        try:
            size = self._write(fetch, part)
            read_virtual_size(part, source.format, name=f"image {source.url}")
            sync_file(part)
            part.rename(path)
            sync_directory(path.parent)
        except OSError as error:
            raise _local_error(error, source, path) from error
        finally:
            part.unlink(missing_ok=True)
        _LOG.info("image %s: fetched %.1f MiB in %.1f s", source.url, size / _MIB, time.monotonic() - began)

    def _write(self, fetch: _Fetch, part: Path) -> int:
        """Stream the image into `part`; return its size in bytes once the sum is right."""
        source = fetch.source
        deadline = Deadline.after(self._timeout_s)
        digest = hashlib.sha256()
        size = 0
        with part.open("wb") as file, self._open(source) as blocks:
            for block in blocks:
                if fetch.cancelled.is_set():
                    raise Stopped(f"image {source.url} is not wanted any more")
                if deadline.expired:
                    raise ImageNotFetched(
                        f"image {source.url} was not fetched within {self._timeout_s:g} s "
                        f"({size / _MIB:.1f} MiB came): "
                        "raise agent.image_timeout_s on the host, or serve it from nearer"
                    )
                digest.update(block)
                file.write(block)
                size += len(block)
        if digest.hexdigest() != source.sha256:
            raise ImageSumWrong(
                f"image {source.url} has the SHA-256 {digest.hexdigest()}, not {source.sha256} as asked for: "
                "correct image.sha256, or the file"
            )
        return size

    @contextlib.contextmanager
    def _open(self, source: ImageSource) -> Iterator[Iterator[bytes]]:
        if source.url.startswith(("http://", "https://")):
            with self._open_http(source) as blocks:
                yield blocks
        else:
            path = Path(unquote(urlsplit(source.url).path) if source.url.startswith("file://") else source.url)
            try:
                # A pipe would hold its thread for ever when it is opened, a device like /dev/zero fill the disk.
                if not path.is_file() and path.exists():
                    raise ImageNotFetched(
                        f"image {source.url} is not a regular file on this host: give the path of one"
                    )
                file = path.open("rb")
            except OSError as error:
                raise ImageNotFetched(
                    f"image {source.url} cannot be read on this host: {error.strerror}: put it there, or give a URL "
                    "that every host can fetch"
                ) from error
            with file:
                yield iter(lambda: file.read(_BLOCK), b"")

    @contextlib.contextmanager
    def _open_http(self, source: ImageSource) -> Iterator[Iterator[bytes]]:
        timeout = urllib3.Timeout(connect=min(_CONNECT_TIMEOUT_S, self._timeout_s), read=self._stall_timeout_s)
        try:
            response = self._http.request("GET", source.url, preload_content=False, timeout=timeout)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ImageNotFetched(f"image {source.url} cannot be fetched: {_reason(error)}") from error
        try:
            if response.status != 200:
                raise ImageNotFetched(
                    f"image {source.url} cannot be fetched: the server answers {response.status} {response.reason}"
                )
            yield self._blocks(response, source)
        finally:
            # Not given back to the pool: most of it may still be on its way.
            response.close()

    def _blocks(self, response: urllib3.BaseHTTPResponse, source: ImageSource) -> Iterator[bytes]:
        try:
            # Blocks as they come: waiting for a full one would hide a cancellation, and a trickle from the deadline.
            while block := response.read1(_BLOCK, decode_content=False):
                yield block
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ImageNotFetched(
                f"image {source.url} stopped coming: no byte for {self._stall_timeout_s:g} s"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise ImageNotFetched(f"image {source.url} broke off: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return the innermost reason of urllib3's error, without its object addresses."""
    while (inner := getattr(error, "reason", None) or error.__cause__) and isinstance(inner, BaseException):
        error = inner
    return str(error).rpartition(">: ")[2] or str(error) or type(error).__name__


def _local_error(error: OSError, source: ImageSource, path: Path) -> BuildError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space is left in {path.parent} on this host for image {source.url}: free some")
    return ImageNotFetched(f"image {source.url} cannot be kept in {path.parent}: {error.strerror or error}")
