from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import subnet
from lab.errors import LabError


@given(st.integers(min_value=0, max_value=2**24 - 1))
def test_a_chosen_network_is_private_and_collides_with_nothing_in_use(seed: int) -> None:
    used = [IPv4Network("10.0.0.0/8"), IPv4Network("172.29.4.0/24"), IPv4Network("192.168.1.7/32")]
    chosen = subnet.choose(used, seed)
    assert chosen.is_private
    assert chosen.prefixlen == 24
    assert not any(chosen.overlaps(other) for other in (*used, *subnet.RESERVED))


def test_two_labs_begin_their_search_at_different_places() -> None:
    assert subnet.choose([], 1) != subnet.choose([], 2)


def test_the_same_lab_chooses_the_same_network_again() -> None:
    assert subnet.choose([], 77) == subnet.choose([], 77)


def test_libvirts_own_network_is_never_chosen() -> None:
    assert IPv4Network("192.168.122.0/24") in set(subnet.candidates(0))
    used = [IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")]
    used += [net for net in subnet.candidates(0) if str(net).startswith("192.168.") and str(net) != "192.168.122.0/24"]
    with pytest.raises(LabError, match="--subnet CIDR"):
        subnet.choose(used, 122)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.1.2.3/24", "host bits"),
        ("nonsense", "nonsense"),
        ("8.8.8.0/24", "not a private network"),
        ("10.1.2.0/29", "too small"),
        ("fd00::/64", "fd00"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        subnet.parse(text, 3)


def test_addresses_leave_room_for_the_bridge() -> None:
    net = subnet.parse("10.1.2.0/24", 3)
    assert subnet.gateway(net) == "10.1.2.1"
    assert [subnet.address(net, index) for index in range(3)] == ["10.1.2.11", "10.1.2.12", "10.1.2.13"]


def test_overlaps_name_what_they_collide_with() -> None:
    net = IPv4Network("192.168.0.0/16")
    assert subnet.overlapping(net, [IPv4Network("192.168.7.0/24"), IPv4Network("10.0.0.0/8")]) == [
        "192.168.7.0/24",
        "192.168.122.0/24",
        "192.168.221.0/24",
    ]
