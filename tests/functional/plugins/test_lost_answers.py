"""What a task does when the network takes an answer away: it looks again, and tells the truth about what it changed.

A server between the module's code and the real etcd carries requests out and then hangs up instead of answering.
"""

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import OutcomeUnknown, Unavailable
from ansible_collections.etcdcompute.cloud.plugins.module_utils.etcd import Compare, Gateway
from ansible_collections.etcdcompute.cloud.plugins.module_utils.instance_task import InstanceTask
from ansible_collections.etcdcompute.cloud.plugins.module_utils.servers import Connection

from etcdcompute.model import keys
from tests.functional.etcd_server import EtcdServer
from tests.functional.plugins.store import Store

UUID = "6f1c0f0e-8a53-4c62-9d5c-0f6a7a3f1b11"
OPTIONS: dict[str, Any] = {
    "name": "vm1",
    "uuid": None,
    "state": "present",
    "image": {"url": "/srv/images/guest.qcow2", "sha256": "0" * 64, "format": "qcow2"},
    "resources": {"vcpus": 1, "memory_mib": 128, "disk_gib": 1, "extra": None},
    "wait": False,
    "wait_for_address": True,
}


class Relay:
    """Passes requests on to etcd; the next `lose` writes are carried out and not answered, `refuse` get a 503."""

    def __init__(self, etcd: EtcdServer) -> None:
        relay = self
        self.lose = 0
        self.refuse = 0
        self.writes = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_write = b'"compare"' in body
                relay.writes += is_write
                if is_write and relay.refuse:
                    relay.refuse -= 1
                    self.answer(503, b'{"message": "etcdserver: leader changed", "code": 14}')
                    return
                request = urllib.request.Request(f"{etcd.endpoint}{self.path}", body)
                try:
                    with urllib.request.urlopen(request, timeout=10) as response:
                        status, answer = response.status, response.read()
                except urllib.error.HTTPError as error:
                    with error:
                        status, answer = error.code, error.read()
                if is_write and relay.lose:
                    relay.lose -= 1
                    self.close_connection = True
                    return
                self.answer(status, answer)

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.gateway = Gateway(
            Connection("etcd", "etcd_endpoints", [f"http://127.0.0.1:{self.server.server_port}"], 2.0)
        )

    def run(self, **options: Any) -> dict[str, Any]:
        return InstanceTask(self.gateway, OPTIONS | options, False, 10.0).run()


@pytest.fixture
def relay(etcd: EtcdServer) -> Iterator[Relay]:
    relay = Relay(etcd)
    thread = threading.Thread(target=relay.server.serve_forever, name="relay", kwargs={"poll_interval": 0.05})
    thread.start()
    yield relay
    relay.server.shutdown()
    relay.server.server_close()
    thread.join(10)


@pytest.mark.parametrize("how", ["lose", "refuse"])
def test_a_create_happens_once_and_is_reported(relay: Relay, store: Store, how: str) -> None:
    setattr(relay, how, 1)
    result = relay.run()
    instance = store.instance("vm1")
    assert instance is not None
    assert (result["changed"], result["instance"]["uuid"]) == (True, instance.uuid)
    assert result["changes"]["name"] == {"before": None, "after": "vm1"}
    assert store.count(keys.INSTANCES) == 1
    assert relay.writes == (1 if how == "lose" else 2)
    assert relay.run()["changed"] is False


@pytest.mark.parametrize("how", ["lose", "refuse"])
def test_a_change_happens_once_and_is_reported(relay: Relay, store: Store, how: str) -> None:
    store.put_instance("vm1", UUID)
    setattr(relay, how, 1)
    result = relay.run(state="stopped")
    assert result["changes"] == {"power_state": {"before": "running", "after": "stopped"}}
    instance = store.instance("vm1")
    assert instance is not None
    assert instance.generation == 2


@pytest.mark.parametrize("how", ["lose", "refuse"])
def test_a_deletion_happens_once_and_is_reported(relay: Relay, store: Store, how: str) -> None:
    store.put_instance("vm1", UUID)
    setattr(relay, how, 1)
    result = relay.run(state="absent")
    assert result["changed"] is True
    assert result["changes"]["name"] == {"before": "vm1", "after": None}
    instance = store.instance("vm1")
    assert instance is not None
    assert (instance.generation, instance.deleted) == (2, True)
    assert relay.run(state="absent")["changed"] is False


def test_a_write_whose_answer_is_lost_is_not_sent_again_blindly(relay: Relay, store: Store) -> None:
    relay.lose = 1
    with pytest.raises(OutcomeUnknown, match="did not answer"):
        relay.gateway.commit([Compare.absent("/a")], {"/a": b"1"})
    assert relay.writes == 1
    assert store.get("/a") == b"1"


def test_nothing_is_sent_to_a_server_that_is_not_there(etcd: EtcdServer) -> None:
    gateway = Gateway(Connection("etcd", "etcd_endpoints", [etcd.endpoint], 0.5))
    etcd.stop()
    with pytest.raises(Unavailable, match="etcd cannot be reached"):
        gateway.commit([Compare.absent("/a")], {"/a": b"1"})


def test_a_token_that_etcd_has_forgotten_is_renewed(tmp_path: Path) -> None:
    with EtcdServer(tmp_path, arguments=["--bcrypt-cost=4"]) as server:
        server.post("/v3/auth/user/add", {"name": "root", "password": "secret"})
        server.post("/v3/auth/role/add", {"name": "root"})
        server.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
        server.post("/v3/auth/enable", {})
        gateway = Gateway(Connection("etcd", "etcd_endpoints", [server.endpoint]), "root", "secret")
        assert gateway.commit([Compare.absent("/a")], {"/a": b"1"})
        server.restart()
        assert gateway.commit([Compare.absent("/b")], {"/b": b"1"})
        assert [each.value for each in gateway.read_prefix("/")[1]] == [b"1", b"1"]
