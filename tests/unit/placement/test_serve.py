"""What may be served, where, and to whom."""

import socket

import pytest

from etcdcompute.errors import InvalidInput, Unavailable
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.serve import choose_gate, open_store, parse_listen, serve


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.0.0.1:8778", ("127.0.0.1", 8778)), ("[::1]:0", ("::1", 0)), ("localhost:1", ("localhost", 1))],
)
def test_addresses(listen: str, expected: tuple[str, int]) -> None:
    assert parse_listen(listen) == expected


@pytest.mark.parametrize("listen", ["", "8778", "host", ":1", "host:port", "host:70000", "host:-1"])
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:8778"):
        parse_listen(listen)


@pytest.mark.parametrize(
    ("host", "auth", "token", "expected"),
    [
        ("127.0.0.1", None, None, None),
        ("::1", "", "", None),
        ("localhost", None, None, None),
        ("0.0.0.0", "none", None, None),
        ("0.0.0.0", None, "secret", "secret"),
        ("127.0.0.1", "token", "secret", "secret"),
        ("127.0.0.1", "none", "secret", None),
    ],
)
def test_who_is_asked_for_a_token(host: str, auth: str | None, token: str | None, expected: str | None) -> None:
    gate = choose_gate(host, auth=auth, token=token, policy=None)
    if expected is None:
        gate.admit({})
        return
    gate.admit({"x-auth-token": expected})
    with pytest.raises(Problem, match="X-Auth-Token"):
        gate.admit({"x-auth-token": "another"})


@pytest.mark.parametrize(
    ("host", "auth", "token", "why"),
    [
        ("0.0.0.0", None, None, "--auth none"),
        ("192.0.2.1", "", "", "--auth none"),
        ("127.0.0.1", "token", None, "placement.token"),
        ("127.0.0.1", "basic", None, "none, token or noauth2"),
    ],
)
def test_what_is_too_open_or_unknown(host: str, auth: str | None, token: str | None, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        choose_gate(host, auth=auth, token=token, policy=None)


def test_roles_are_for_callers_who_name_themselves() -> None:
    with pytest.raises(InvalidInput, match="--auth noauth2 or no policy"):
        choose_gate("127.0.0.1", auth="token", token="secret", policy="secure")
    with pytest.raises(InvalidInput, match="'strict' is not known"):
        choose_gate("127.0.0.1", auth="noauth2", token=None, policy="strict")
    assert (
        not choose_gate("127.0.0.1", auth="noauth2", token=None, policy=None)
        .admit({"x-auth-token": "admin"})
        .may("placement:reshaper:reshape", None)
    ), "unless told the policy is the secure one"


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_who_believes_everybody_is_warned(host: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    choose_gate(host, auth="noauth2", token=None, policy=None)
    assert ("noauth2 believes whoever can reach 0.0.0.0" in caplog.text) == warned


def test_an_origin_that_is_none_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidInput, match=r"cors_origins: 'example\.com' is no origin"):
        serve(graph="memory://", listen="127.0.0.1:0", cors_origins=("example.com",))


@pytest.mark.parametrize(
    "graph",
    ["", "memory", "etcd://", "etcd://host", "etcd://host:1,:2", "postgres://x", "etcd://host:port", "etcd://a/b:1"],
)
def test_graphs_that_are_none(graph: str) -> None:
    with pytest.raises(InvalidInput, match="graph: "):
        open_store(graph)


def test_errors_do_not_show_passwords() -> None:
    with pytest.raises(InvalidInput) as refused:
        open_store("etcd://root:secret@nowhere")
    assert "secret" not in str(refused.value)


def test_an_address_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match=address):
            serve(graph="memory://", listen=address)
