"""The client against real services: failover, and errors as the tree has them."""

import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from etcdcompute.errors import AccessDenied, AlreadyExists, InvalidInput, NotFound, OutcomeUnknown, Unavailable
from etcdcompute.placement.client import (
    GenerationConflict,
    InUse,
    Inventory,
    NoCapacity,
    PlacementClient,
)
from tests.functional.placement.server import PlacementThread
from tests.functional.ports import free_ports


def make(client: PlacementClient, name: str = "host", total: int = 4) -> str:
    provider = client.ensure_resource_provider(str(uuid.uuid4()), name)
    client.set_inventories(provider.uuid, {"VCPU": Inventory(total)}, provider.generation)
    return provider.uuid


def claim(client: PlacementClient, consumer: str, provider: str, vcpu: int, generation: int | None = None) -> None:
    client.claim(
        consumer, {provider: {"VCPU": vcpu}}, consumer_generation=generation, project_id="project", user_id="user"
    )


def test_a_provider_is_ensured(client: PlacementClient) -> None:
    root = str(uuid.uuid4())
    made = client.ensure_resource_provider(root, "root")
    assert client.ensure_resource_provider(root, "root") == made
    assert client.ensure_resource_provider(root, "renamed").name == "renamed"
    child = client.ensure_resource_provider(str(uuid.uuid4()), "child", root)
    assert child.root_uuid == root
    assert client.ensure_resource_provider(child.uuid, "child").parent_uuid is None
    with pytest.raises(AlreadyExists, match="renamed"):
        client.ensure_resource_provider(str(uuid.uuid4()), "renamed")
    with pytest.raises(AlreadyExists, match="renamed"):
        client.ensure_resource_provider(child.uuid, "renamed")
    assert {each.name for each in client.list_resource_providers()} == {"renamed", "child"}
    assert client.list_resource_providers(name="child")[0].uuid == child.uuid


def test_what_a_provider_has(client: PlacementClient) -> None:
    provider = make(client)
    inventories = client.get_inventories(provider)
    assert inventories.inventories == {"VCPU": Inventory(4)}
    client.create_trait("CUSTOM_FAST")
    client.create_trait("CUSTOM_FAST")
    traits = client.set_traits(provider, ["CUSTOM_FAST"], inventories.generation)
    assert client.get_traits(provider) == traits
    aggregates = client.set_aggregates(provider, [str(uuid.uuid4())], traits.generation)
    assert client.get_aggregates(provider) == aggregates
    with pytest.raises(GenerationConflict):
        client.set_traits(provider, [], 0)
    with pytest.raises(InvalidInput, match="CUSTOM_SLOW"):
        client.set_traits(provider, ["CUSTOM_SLOW"], aggregates.generation)
    with pytest.raises(NotFound):
        client.get_traits(str(uuid.uuid4()))


def test_claims(client: PlacementClient) -> None:
    provider = make(client)
    found = client.get_allocation_candidates({"VCPU": 2}, limit=1)
    assert found.requests[0].allocations == {provider: {"VCPU": 2}}
    assert found.requests[0].mappings == {"": (provider,)}
    assert found.provider_summaries[provider].resources["VCPU"].capacity == 4
    assert client.get_allocation_candidates({"VCPU": 2}, required=["HW_CPU_X86_VMX"]).requests == ()
    assert client.get_allocation_candidates({"VCPU": 2}, forbidden=["HW_CPU_X86_VMX"]).requests != ()
    consumer = str(uuid.uuid4())
    claim(client, consumer, provider, 2)
    held = client.get_allocations(consumer)
    assert held.allocations == {provider: {"VCPU": 2}}
    assert (held.project_id, held.user_id, held.consumer_type) == ("project", "user", "INSTANCE")
    with pytest.raises(GenerationConflict):
        claim(client, consumer, provider, 3)
    with pytest.raises(NoCapacity):
        claim(client, str(uuid.uuid4()), provider, 3)
    assert client.get_usages(provider).usages == {"VCPU": 2}
    with pytest.raises(InUse) as refused:
        client.delete_resource_provider(provider)
    assert refused.value.consumers == (consumer,)
    client.release(consumer)
    client.release(consumer)
    assert client.get_allocations(consumer).consumer_generation is None
    client.delete_resource_provider(provider)
    client.delete_resource_provider(provider)


def test_the_next_server_is_asked_when_one_is_gone(service: PlacementThread) -> None:
    client = PlacementClient([f"http://127.0.0.1:{free_ports(1)[0]}", service.url])
    consumer = str(uuid.uuid4())
    provider = make(client)
    claim(client, consumer, provider, 1)
    assert client.get_usages(provider).usages == {"VCPU": 1}


def test_no_server_at_all() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        PlacementClient([f"http://127.0.0.1:{port}" for port in free_ports(2)]).list_resource_providers()


class _Tardy(BaseHTTPRequestHandler):
    """Answers as a service does whose clock is an hour behind."""

    def do_GET(self) -> None:
        body = b'{"resource_providers": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) - 3600)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def tardy_service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tardy) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_all_servers_clocks_are_compared_in_turn() -> None:
    with PlacementThread("memory://") as service, tardy_service() as late:
        client = PlacementClient([service.url, f"http://127.0.0.1:{free_ports(1)[0]}", late])
        seen = [client.clock_offset]
        for _ in range(3):
            client.compare_clock()
            seen.append(client.clock_offset)
        client.close()
    untold, right, still, wrong = seen
    assert untold is None
    assert right is not None
    assert still == right
    assert wrong is not None
    # A service's time may be a second old when it comes.
    assert -2 <= right.seconds <= 0
    assert (wrong.url, -3602 <= wrong.seconds <= -3597) == (late, True)


def test_the_clock_of_a_server_that_is_gone_is_forgotten() -> None:
    with tardy_service() as late:
        client = PlacementClient([late])
        client.compare_clock()
        told = client.clock_offset
    client.compare_clock()
    forgotten = client.clock_offset
    client.close()
    assert told is not None
    assert forgotten is None


def test_any_answer_tells_the_time() -> None:
    with tardy_service() as late:
        client = PlacementClient([late])
        client.list_resource_providers()
        client.close()
    assert client.clock_offset is not None
    assert client.clock_offset.seconds < -3590


def test_a_wrong_token() -> None:
    with PlacementThread("memory://", token="secret") as service:
        with pytest.raises(AccessDenied):
            PlacementClient([service.url], token="wrong").list_resource_providers()
        assert PlacementClient([service.url], token="secret").list_resource_providers() == ()


def receive_message(source: socket.socket) -> bytes:
    """Return one HTTP message, empty at the end."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= (int(length[1]) if length else 0):
            return data
        more = source.recv(65536)
        if not more:
            return b""
        data += more


@contextmanager
def losing_answers(target: str, lose: int) -> Iterator[str]:
    """Forward requests to a service, but hang up instead of handing on the first `lose` answers to PUTs."""
    host, port = target.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left = [lose]

    def forward(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            while request := receive_message(client):
                server.sendall(request)
                answer = receive_message(server)
                if request.startswith(b"PUT") and left[0]:
                    left[0] -= 1
                    return
                client.sendall(answer)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=forward, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_claim_whose_answer_was_lost_is_found(service: PlacementThread) -> None:
    provider = make(PlacementClient([service.url]))
    with losing_answers(service.url, 1) as url:
        client = PlacementClient([url])
        consumer = str(uuid.uuid4())
        claim(client, consumer, provider, 3)
        assert client.get_allocations(consumer).consumer_generation == 1
        client.close()


def test_a_write_whose_answer_was_lost_is_not_sent_twice(service: PlacementThread) -> None:
    provider = make(PlacementClient([service.url]))
    with losing_answers(service.url, 1) as url:
        client = PlacementClient([url, service.url])
        with pytest.raises(OutcomeUnknown):
            client.set_traits(provider, ["HW_CPU_X86_VMX"], 1)
        assert client.get_traits(provider).traits == {"HW_CPU_X86_VMX"}
        client.close()
