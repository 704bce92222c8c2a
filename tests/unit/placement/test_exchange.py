"""What is taken for JSON, a query, a uuid, a version: text that nothing could store or show is refused at the door."""

import pytest

from etcdcompute.placement.api.exchange import is_uuid, normal_uuid, parse_json, parse_query
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.version import negotiate

UUID = "abcdef00-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"name": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b'"\\ud800\\u0041"',
        '\ufeff{"name": "x"}'.encode(),
        '{"name": "x"}'.encode("utf-16"),
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(Problem, match="Malformed JSON: ") as refused:
        parse_json(body)
    assert refused.value.status == 400


def test_escaped_text_is_text() -> None:
    assert parse_json(b'{"name": "\\u2603 \\ud83d\\ude00 \\\\ud800"}') == {"name": "☃ 😀 \\ud800"}


def test_a_query_keeps_order_repetition_and_what_is_empty() -> None:
    assert parse_query(b"b=%E2%98%83&a=1+2&a=&c") == (("b", "☃"), ("a", "1 2"), ("a", ""), ("c", ""))


@pytest.mark.parametrize("query", [b"name=%ff", b"%c3=x", b"name=\xff"])
def test_a_query_that_is_no_text(query: bytes) -> None:
    with pytest.raises(Problem, match="Invalid query string parameters: ") as refused:
        parse_query(query)
    assert refused.value.status == 400


@pytest.mark.parametrize("text", [UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}"])
def test_uuids(text: str) -> None:
    assert is_uuid(text)
    assert normal_uuid(text) == UUID


@pytest.mark.parametrize(
    "text",
    ["", "x", UUID[:-1], f"{UUID}0", "-" * 36, f" {UUID[1:]}", f"+{UUID[1:]}", UUID.replace("0", "_"), "٣" * 32],
)
def test_what_is_no_uuid(text: str) -> None:
    assert not is_uuid(text)


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("", 0),
        ("compute 1.5", 0),
        ("placement 1.10", 10),
        ("compute 2.1, Placement  1.10", 10),
        ("placement latest", 39),
    ],
)
def test_versions(header: str, version: int) -> None:
    assert negotiate({"openstack-api-version": header}) == version


@pytest.mark.parametrize(
    ("asked", "status"),
    [("1.40", 406), ("2.0", 406), ("0.9", 406), ("1.-1", 406), ("1", 400), ("1.2.3", 400), ("x", 400), ("LATEST", 400)],
)
def test_versions_that_are_not_served(asked: str, status: int) -> None:
    with pytest.raises(Problem, match=asked) as refused:
        negotiate({"openstack-api-version": f"placement {asked}"})
    assert refused.value.status == status
    assert refused.value.extra == ({"max_version": "1.39", "min_version": "1.0"} if status == 406 else {})
