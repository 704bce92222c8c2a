"""Images over HTTP: from a server that behaves, and from ones that don't."""

import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from etcdcompute.agent.errors import BuildError, ImageNotFetched
from etcdcompute.agent.images import ImageCache
from etcdcompute.agent.paths import StatePaths
from etcdcompute.model import ImageSource
from tests.functional.ports import free_ports

CONTENT = os.urandom(2 * 1024 * 1024)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Counts requests; `released` lets the stalling paths go on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.released = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One path a behaviour."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        match self.path:
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/good")
                self.end_headers()
            case "/good":
                self._begin()
                self.wfile.write(CONTENT)
            case "/slow":
                self._begin()
                self.wfile.write(CONTENT[:1000])
                self.server.released.wait(30)
                self.wfile.write(CONTENT[1000:])
            case "/stalls":
                self._begin()
                self.wfile.write(CONTENT[:1000])
                self.server.released.wait(30)
            case "/trickles":
                self._begin()
                while not self.server.released.wait(0.05):
                    self.wfile.write(b"x")
            case "/breaks":
                self._begin()
                self.wfile.write(CONTENT[:1000])
            case _:
                self.send_error(404)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,), name="image-server")
        thread.start()
        yield made
        made.released.set()
        made.shutdown()
        thread.join()


class Host:
    """A cache and who was called."""

    def __init__(self, directory: Path, *, timeout_s: float = 20, stall_timeout_s: float = 20) -> None:
        self.paths = StatePaths(directory)
        self.paths.prepare()
        self.ready: queue.Queue[str] = queue.Queue()
        self.cache = ImageCache(
            self.paths, timeout_s=timeout_s, on_ready=self.ready.put, stall_timeout_s=stall_timeout_s
        )

    def fetch(self, url: str) -> Path | None:
        source = ImageSource(url=url, sha256=SHA256, format="raw")
        if (path := self.cache.request(source, "a")) is None:
            assert self.ready.get(timeout=30) == "a"
            path = self.cache.request(source, "a")
        return path

    def assert_fails(self, url: str, said: str, kind: type[BuildError] = ImageNotFetched) -> None:
        with pytest.raises(kind, match=said):
            self.fetch(url)
        assert list(self.paths.images.iterdir()) == []
        self.cache.close()


@pytest.mark.parametrize("path", ["/good", "/moved"])
def test_an_image_is_downloaded_once(server: Server, tmp_path: Path, path: str) -> None:
    host = Host(tmp_path)
    found = host.fetch(server.url + path)
    assert found is not None
    assert found.read_bytes() == CONTENT
    requests = list(server.requests)
    assert host.fetch(server.url + path) == found
    assert server.requests == requests
    host.cache.close()


def test_a_refusal_is_said(server: Server, tmp_path: Path) -> None:
    Host(tmp_path).assert_fails(f"{server.url}/absent", "the server answers 404 Not Found")


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    Host(tmp_path).assert_fails(f"http://127.0.0.1:{free_ports(1)[0]}/x", "cannot be fetched: .*Connection refused")


def test_a_name_that_is_not_known_is_said(tmp_path: Path) -> None:
    Host(tmp_path).assert_fails("http://images.invalid/x", r"http://images.invalid/x cannot be fetched: ")


def test_a_stalled_download_times_out(server: Server, tmp_path: Path) -> None:
    Host(tmp_path, stall_timeout_s=0.5).assert_fails(f"{server.url}/stalls", "stopped coming: no byte for 0.5 s")


def test_a_trickling_download_times_out(server: Server, tmp_path: Path) -> None:
    Host(tmp_path, timeout_s=1).assert_fails(f"{server.url}/trickles", "was not fetched within 1 s")


def test_a_download_that_breaks_off_is_said(server: Server, tmp_path: Path) -> None:
    Host(tmp_path).assert_fails(f"{server.url}/breaks", "broke off: ")


def test_waiters_share_a_download_and_the_last_to_go_ends_it(server: Server, tmp_path: Path) -> None:
    host = Host(tmp_path)
    source = ImageSource(url=f"{server.url}/slow", sha256=SHA256, format="raw")
    for waiter in ("a", "b", "c"):
        assert host.cache.request(source, waiter) is None
    host.cache.withdraw("b")
    server.released.set()
    assert {host.ready.get(timeout=30), host.ready.get(timeout=30)} == {"a", "c"}
    assert host.cache.cached(source) is not None
    assert server.requests == ["/slow"]
    host.cache.close()


def test_an_agent_that_stops_leaves_nothing_half_done(server: Server, tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.cache.request(ImageSource(url=f"{server.url}/trickles", sha256=SHA256, format="raw"), "a") is None
    host.cache.close()
    assert list(host.paths.images.iterdir()) == []
