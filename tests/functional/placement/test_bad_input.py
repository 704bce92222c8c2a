"""Any bytes: a refusal that says what is wrong, never a fault, a hang, half a change or a growing memory.

What an OpenAPI document can describe is schemathesis' part (make fuzz); this is the rest.
"""

import json
import select
import uuid
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path

import pytest
import urllib3

from etcdcompute.placement import protocol
from etcdcompute.placement.api import app
from etcdcompute.placement.api.app import MAX_BODY_BYTES, MAX_QUERY_BYTES
from tests.functional.placement.server import PlacementProcess, PlacementThread
from tests.functional.placement.wire import Answer, connect, is_closed, read_answer, request, talk

JUNK = b"x" * 65536
PROVIDERS = "/resource_providers"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose log must not tell of a bug when it ends."""
    with PlacementProcess("memory://", tmp_path_factory.mktemp("placement") / "log") as service:
        yield service.url
        assert urllib3.request("GET", f"{service.url}/healthcheck").status == 200


NOT_HTTP = {
    "zeros": bytes(200),
    "high bytes": b"\xff\xfe\xfd" * 100 + b"\r\n\r\n",
    "a TLS greeting": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version that is none": b"GET / HTTP/x.y\r\nhost: a\r\n\r\n",
    "a method that is none": b"G@T / HTTP/1.1\r\nhost: a\r\n\r\n",
    "a zero in the path": b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nhost\r\n\r\n",
    "a header with a space in its name": b"GET / HTTP/1.1\r\nho st: a\r\n\r\n",
    "a zero in a header": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "two lengths": b"POST /traits HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length and pieces": (
        b"POST /traits HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_no_http_is_refused(url: str, data: bytes) -> None:
    answer = talk(url, data)
    assert answer.detail()
    assert answer.headers["connection"] == "close"


def test_a_head_without_end_is_refused(url: str) -> None:
    endless = repeat(b"x-padding: " + b"y" * 1000 + b"\r\n")
    assert talk(url, b"GET / HTTP/1.1\r\nhost: a\r\n", endless).status == 431
    assert talk(url, b"GET / HTTP/1.1\r\nx-endless: ", repeat(JUNK)).status == 431
    assert talk(url, b"GET /", repeat(JUNK)).status in (414, 431)


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "0x10", "5, 5", "٣", "9" * 40, "five"])
def test_a_length_that_is_none_is_refused(url: str, length: str) -> None:
    head = b"POST /resource_providers HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: "
    assert "content-length" in talk(url, head + length.encode() + b"\r\n\r\n").detail()


def test_a_body_without_end_is_refused(url: str) -> None:
    chunk = b"10000\r\n" + JUNK + b"\r\n"
    chunked = request("POST", PROVIDERS, content_type="application/json", transfer_encoding="chunked")
    assert talk(url, chunked, repeat(chunk)).status == 413
    announced = request("POST", PROVIDERS, content_type="application/json", content_length=10**15)
    answer = talk(url, announced, repeat(JUNK))
    assert str(MAX_BODY_BYTES) in answer.detail()
    assert answer.status == 413


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n\r\n", b"-5\r\nabcde\r\n", b"f" * 40 + b"\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n"]
)
def test_pieces_that_are_none_are_refused(url: str, chunks: bytes) -> None:
    head = request("POST", PROVIDERS, content_type="application/json", transfer_encoding="chunked")
    assert talk(url, head + chunks).detail()


def test_a_query_that_is_too_long_is_refused(url: str) -> None:
    assert talk(url, request("GET", f"{PROVIDERS}?name={'x' * MAX_QUERY_BYTES}")).status == 414
    thousands = "&".join(f"a{number}=" for number in range(4000))
    assert "unexpected" in talk(url, request("GET", f"{PROVIDERS}?{thousands}")).detail()
    groups = "&".join(f"resources{number}=VCPU:1" for number in range(1, 1500))
    assert "groups" in talk(url, request("GET", f"/allocation_candidates?{groups}&group_policy=none")).detail()


ODD_PATHS = [
    "/resource_providers/%00",
    "/resource_providers/%ff%fe",
    "/resource_providers/%ED%A0%80",
    "/resource_providers/%",
    "/resource_providers/%zz",
    "/resource_providers/..%2f..%2fetc%2fpasswd",
    "/resource_providers/" + "x" * 20_000,
    "/traits/%F0%9F%90%B4",
    "/traits/CUSTOM_X%0A",
    "/resource_classes/CUSTOM_X%0D%0Ax-injected:%201",
    "//resource_providers",
    "/" * 1000,
    "/graph/trees/not-a-uuid",
    "/graph/trees/%00",
    "/graph/..",
    "/allocations/%00/x",
]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "TRACE"])
def test_odd_paths_lead_nowhere(url: str, method: str) -> None:
    for path in ODD_PATHS:
        body = b"{}" if method in ("PUT", "POST") else b""
        answer = talk(url, request(method, path, body))
        assert answer.detail()
        assert "x-injected" not in answer.headers


@pytest.mark.parametrize("path", [PROVIDERS, "/allocation_candidates", "/traits", "/usages", "/graph/explain"])
@pytest.mark.parametrize("query", [b"name=%ff", b"%00=%00", b"a=%ED%A0%80", b"=&=&;", b"resources=VCPU:\xc3\xa9", b"%"])
def test_queries_that_are_no_text_are_refused(url: str, path: str, query: bytes) -> None:
    assert talk(url, request("GET", path.encode() + b"?" + query)).detail()


DIGITS = b"9" * 5000
NOT_JSON = {
    "nothing": b" ",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "half a character": b'{"name": "\\ud800"}',
    "half a character the other way round": b'{"name": "\\udc00\\ud800"}',
    "half a character as a key": b'{"name": "x", "\\ud800": 1}',
    **{f"lists nested {depth} deep": b"[" * depth + b"]" * depth for depth in (500, *range(900, 1001, 5), 5000)},
    "nested lists": b"[" * 1_000_000,
    "nested mappings": b'{"name":' * 500_000,
    "a number without end": b'{"name": "x", "uuid": ' + DIGITS + b"}",
    "too many digits": DIGITS,
    "no number": b'{"name": NaN}',
    "an endless number": b'{"name": 1e999}',
    "two documents": b'{"name": "x"}{"name": "y"}',
    "a comment": b'{"name": "x"} // y',
    "a zero": b'{"name": "x"}\x00',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", PROVIDERS),
        ("POST", "/allocations"),
        ("POST", "/reshaper"),
        ("PUT", "/allocations/11111111-0000-4000-8000-000000000000"),
        ("PUT", "/graph/trees/11111111-0000-4000-8000-000000000000"),
    ],
)
def test_bodies_that_are_no_json_are_refused(url: str, method: str, path: str, body: bytes) -> None:
    answer = talk(url, request(method, path, body))
    assert answer.detail()
    assert answer.status in (400, 413)


def test_numbers_that_nothing_can_hold_are_refused(url: str) -> None:
    provider = created(url)
    path = f"{PROVIDERS}/{provider}/inventories"
    for total in (b"1e400", b"-1", b"0", b"2147483648", b"1" * 4000, b"1.5", b"true", b'"8"', b"null"):
        body = b'{"resource_provider_generation": 0, "inventories": {"VCPU": {"total": ' + total + b"}}}"
        assert talk(url, request("PUT", path, body)).detail()
    for ratio in (b"1e400", b"NaN", b"-Infinity", b"1e39", b"9" * 400):
        body = b'{"resource_class": "VCPU", "total": 8, "allocation_ratio": ' + ratio + b"}"
        assert talk(url, request("POST", path, body)).detail()
    assert json.loads(talk(url, request("GET", path)).body)["inventories"] == {}


def created(url: str) -> str:
    body = json.dumps({"name": str(uuid.uuid4())}).encode()
    answer = talk(url, request("POST", PROVIDERS, body))
    assert answer.status == 200, answer
    return str(json.loads(answer.body)["uuid"])


def test_a_header_is_not_what_it_pretends_to_be(url: str) -> None:
    name = str(uuid.uuid4())
    # Where the thing created is to be found is told with the host that the client says it asked.
    for host in ("é", "a b", "[::1", "a:b:c", "x" * 5000, "a/../b", "%00"):
        answer = talk(url, request("PUT", f"/traits/CUSTOM_{name.replace('-', '_').upper()}", host=host))
        assert answer.status in (201, 204, 400), answer
    for version in ("placement 99999999999999999999.1", "placement 1.-1", "placement é", "placement 1.39.1"):
        assert talk(url, request("GET", "/traits", version=version)).detail()
    assert talk(url, request("POST", PROVIDERS, b"{}", content_type="application/jsön")).status == 415
    assert talk(url, request("GET", PROVIDERS, accept=";;;q=é,/,*")).status in (200, 406)
    assert talk(url, request("GET", PROVIDERS, upgrade="websocket", connection="upgrade")).status == 200


def test_half_a_request_changes_nothing(service: PlacementThread) -> None:
    """Nor does one of which a part is wrong."""
    url, name = service.url, str(uuid.uuid4())
    body = json.dumps({"name": name}).encode()
    for cut in (1, len(body) // 2, len(body) - 1):
        with connect(url) as connection:
            connection.sendall(request("POST", PROVIDERS, body)[: cut - len(body)])
    chunked = request("POST", PROVIDERS, content_type="application/json", transfer_encoding="chunked")
    with connect(url) as connection:
        connection.sendall(chunked + b"%x\r\n%s\r\n" % (len(body), body))
    provider = created(url)
    claim = {"project_id": "p", "user_id": "u", "consumer_type": "T", "consumer_generation": None}
    good, bad = str(uuid.uuid4()), str(uuid.uuid4())
    both = {
        good: {**claim, "allocations": {}},
        bad: {**claim, "allocations": {provider: {"resources": {"VCPU": 1}}}},
    }
    assert talk(url, request("POST", "/allocations", json.dumps(both).encode())).status == 409
    inventories = {"VCPU": {"total": 1}, "CUSTOM_NOT_THERE": {"total": 1}}
    wanted = {"resource_provider_generation": 0, "inventories": inventories}
    path = f"{PROVIDERS}/{provider}/inventories"
    assert talk(url, request("PUT", path, json.dumps(wanted).encode())).status == 400
    assert json.loads(talk(url, request("GET", path)).body) == {"resource_provider_generation": 0, "inventories": {}}
    listed = json.loads(talk(url, request("GET", PROVIDERS)).body)["resource_providers"]
    assert [each["uuid"] for each in listed] == [provider]


def test_who_never_finishes_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE_S", 0.5)
    with PlacementThread("memory://") as service:
        begun = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ", request("POST", PROVIDERS, b"{}")[:-1]]
        for data in begun:
            with connect(service.url) as connection:
                connection.sendall(data)
                if data:
                    assert read_answer(connection).status == 408
                assert is_closed(connection)


def test_a_byte_now_and_then_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE_S", 0.5)
    monkeypatch.setattr(app, "MAX_BODY_S", 1.0)
    chunked = request("POST", PROVIDERS, content_type="application/json", transfer_encoding="chunked")
    with PlacementThread("memory://") as service:
        assert drip(service.url, b"GET / HTTP/1.1\r\n", b"x-slow: y\r\n").status == 408
        answer = drip(service.url, chunked, b"1\r\n \r\n")
        assert (answer.status, answer.headers["connection"]) == (408, "close")


def drip(url: str, begin: bytes, drops: bytes) -> Answer:
    """Send byte by byte, without end, until there is an answer."""
    with connect(url) as connection:
        connection.sendall(begin)
        for byte in cycle(drops):
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(bytes([byte]))
        return read_answer(connection)


def abuse(url: str) -> None:
    """Send some 17 MB of all kinds of nonsense, on some 130 connections."""
    chunked = request("POST", PROVIDERS, content_type="application/json", transfer_encoding="chunked")
    talk(url, chunked, repeat(b"10000\r\n" + JUNK + b"\r\n"))
    talk(url, b"GET / HTTP/1.1\r\nhost: a\r\n", repeat(b"x-padding: " + b"y" * 1000 + b"\r\n"))
    for body in NOT_JSON.values():
        talk(url, request("POST", PROVIDERS, body))
    lists = json.dumps([[]] * 500_000).encode()
    talk(url, request("POST", PROVIDERS, lists))
    talk(url, request("PUT", f"/graph/trees/{uuid.uuid4()}", lists))
    for number in range(20):
        talk(url, request("GET", f"{PROVIDERS}/{uuid.uuid4()}?{'x' * 20_000}"))
        talk(url, request("GET", f"/allocation_candidates?resources{number}=CUSTOM_{uuid.uuid4().hex.upper()}:1"))
        talk(url, request("GET", f"/graph/explain?resources=CUSTOM_{uuid.uuid4().hex.upper()}:1"))
    for data in NOT_HTTP.values():
        talk(url, data)
    for _ in range(20):
        # And who goes away in the middle.
        with connect(url) as connection:
            connection.sendall(request("POST", PROVIDERS, b"[" * 100_000)[:-1])


def test_memory_does_not_grow_under_it(tmp_path: Path) -> None:
    with PlacementProcess("memory://", tmp_path / "log") as service:
        # What allocators keep of the largest requests is mostly there after the first rounds.
        for _ in range(10):
            abuse(service.url)
        before = service.resident_mib()
        for _ in range(30):
            abuse(service.url)
        # Some 500 MB in 4,000 connections came meanwhile; allocators settle within a few.
        assert service.resident_mib() - before < 20
