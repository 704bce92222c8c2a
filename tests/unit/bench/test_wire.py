"""Answers are read whole, whatever pieces they come in; clients do all of their work and nothing twice."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.clients import run_clients
from bench.wire import Address, Answer, BenchError, Connection, TimeLimit, prepare

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nServer: x\r\n\r\nhello\r\n\r\n.."
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n\r\n0\r\n\r\n123\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
Reply = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("data", "status", "body", "closes"),
    [
        (PLAIN, 200, b"hello\r\n\r\n..", False),
        (CHUNKED, 200, b"hello\r\n0\r\n\r\n123", False),
        (EMPTY, 204, b"", True),
    ],
    ids=["plain", "chunked", "empty"],
)
@given(st.data())
def test_an_answer_is_complete_with_its_last_byte_and_not_before(
    data: bytes, status: int, body: bytes, closes: bool, draw: st.DataObject
) -> None:
    cuts = sorted(draw.draw(st.sets(st.integers(1, len(data) - 1))))
    answer = Answer()
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert [answer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (answer.status, answer.body(), answer.closes) == (status, body, closes)


def test_only_a_lost_race_is_to_be_repeated() -> None:
    for body, repeated in ((b'{"code": "placement.concurrent_update"}', True), (b'{"code": "other"}', False)):
        answer = Answer()
        assert answer.feed(b"HTTP/1.1 409 Conflict\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        assert answer.to_repeat is repeated


def ok(_: bytes) -> bytes:
    return b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def serving(reply: Reply, *, hang_up: bool = False) -> Iterator[tuple[Address, list[list[bytes]]]]:
    """Serve requests without bodies; yield the address, and the requests of each connection as they come."""
    seen: list[list[bytes]] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket, requests: list[bytes]) -> None:
        with connection:
            data = b""
            while received := connection.recv(65536):
                data += received
                while b"\r\n\r\n" in data:
                    request, _, data = data.partition(b"\r\n\r\n")
                    requests.append(request.partition(b"\r\n")[0])
                    connection.sendall(reply(request))
                    if hang_up:
                        return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.append([])
            threads.append(threading.Thread(target=serve, args=(connection, seen[-1])))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield Address("127.0.0.1", listener.getsockname()[1], keeps_alive=not hang_up), seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def job(number: int) -> tuple[bytes, bytes]:
    return prepare("GET", f"/{number}/first"), prepare("GET", f"/{number}/second")


def test_clients_send_every_request_once_and_a_job_in_order_on_one_connection() -> None:
    with serving(ok) as (address, seen):
        tally = run_clients(address, iter([job(number) for number in range(40)]), clients=8)
    assert len(seen) == 8
    assert len(tally.spans) == 80
    for requests in seen:
        numbers = [request.split(b"/")[1] for request in requests]
        assert numbers[::2] == numbers[1::2]
        assert {request.split(b"/")[2].split()[0] for request in requests[::2]} <= {b"first"}
    assert len({request for requests in seen for request in requests}) == 80


def test_clients_of_a_server_that_keeps_no_connection_alive_connect_anew() -> None:
    with serving(ok, hang_up=True) as (address, seen):
        tally = run_clients(address, iter([job(number) for number in range(10)]), clients=3)
    assert len(tally.spans) == 20
    assert sorted(len(requests) for requests in seen if requests) == [1] * 20


def test_a_request_that_lost_a_race_is_sent_again_and_counted_once() -> None:
    lost: set[bytes] = set()

    def reply(request: bytes) -> bytes:
        line = request.partition(b"\r\n")[0]
        if line in lost:
            return ok(request)
        lost.add(line)
        return b"HTTP/1.1 409 Conflict\r\ncontent-length: 27\r\n\r\nplacement.concurrent_update"

    with serving(reply) as (address, _):
        tally = run_clients(address, iter([job(number) for number in range(5)]), clients=2)
    assert (len(tally.spans), tally.conflicts) == (10, 10)


def test_a_refusal_ends_the_measurement_and_is_told() -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno such"
    with serving(lambda _: refusal) as (address, _), pytest.raises(BenchError, match=r"/7/first .* 404 no such"):
        run_clients(address, iter([job(7)]), clients=1)


def test_a_service_that_goes_away_is_told() -> None:
    with serving(lambda _: b"", hang_up=True) as (address, _), pytest.raises(BenchError, match=r"GET /7/first"):
        run_clients(address, iter([job(7)]), clients=1)


def test_an_answer_that_does_not_come_is_given_up() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1"
    with serving(lambda _: half) as (address, _), pytest.raises(TimeLimit, match=r"no answer in 0\.05 s"):
        Connection(address, limit_s=0.05).exchange(prepare("GET", "/"))


def test_a_body_is_sent_with_its_length_and_kind() -> None:
    head, _, content = prepare("PUT", "/x", {"a": 1}).partition(b"\r\n\r\n")
    assert content == b'{"a": 1}'
    assert b"\r\nContent-Type: application/json\r\nContent-Length: 8" in head
    head, _, content = prepare("POST", "/x", lines=b"{}\n{}\n").partition(b"\r\n\r\n")
    assert content == b"{}\n{}\n"
    assert b"\r\nContent-Type: application/x-ndjson\r\nContent-Length: 6" in head
