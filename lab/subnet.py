"""Choosing a network that nothing on this machine uses."""

import ipaddress
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, collapse_addresses

from lab.commands import environment, run
from lab.errors import LabError

# In every node: the network of the instances (the role libvirt's), and libvirt's own default one. Podman's and docker's
# may appear on the host any time. The last is what qemu's user networking gives to guests.
RESERVED = tuple(
    IPv4Network(text)
    for text in ("192.168.221.0/24", "192.168.122.0/24", "10.88.0.0/16", "172.17.0.0/16", "10.0.2.0/24")
)
FIRST_NODE = 11


def candidates(seed: int) -> Iterator[IPv4Network]:
    """Yield private /24 networks: out-of-the-way ones first, beginning at a place that `seed` decides."""
    for outer, count in (("10.213.0.0/16", 256), ("172.29.0.0/16", 256), ("192.168.0.0/16", 256)):
        nets = list(IPv4Network(outer).subnets(new_prefix=24))
        for step in range(count):
            yield nets[(seed + step) % count]


def choose(used: Sequence[IPv4Network], seed: int) -> IPv4Network:
    """Return the first candidate that overlaps nothing in `used` and nothing reserved."""
    for candidate in candidates(seed):
        if not any(candidate.overlaps(other) for other in (*used, *RESERVED)):
            return candidate
    raise LabError("no private /24 network is free on this machine: name one yourself with --subnet CIDR")


def parse(text: str, nodes: int) -> IPv4Network:
    """Return the network that a user named; it must be private IPv4 and hold `nodes` nodes."""
    try:
        net = IPv4Network(text)
    except ValueError as error:
        raise LabError(f"--subnet {text}: {error}; write something like 10.213.7.0/24, or auto") from error
    if not net.is_private:
        raise LabError(f"--subnet {text} is not a private network (10/8, 172.16/12, 192.168/16): choose one that is")
    if net.num_addresses < FIRST_NODE + nodes + 1:
        raise LabError(f"--subnet {text} is too small for {nodes} nodes: use a /24")
    return net


def gateway(net: IPv4Network) -> str:
    """Return the address of the bridge."""
    return str(net[1])


def address(net: IPv4Network, index: int) -> str:
    """Return the address of the node with this index, counted from 0."""
    return str(net[FIRST_NODE + index])


def overlapping(net: IPv4Network, used: Iterable[IPv4Network]) -> list[str]:
    """Return what of `used` (and of what is reserved) collides with `net`, without what is inside another."""
    found = {other for other in (*used, *RESERVED) if net.overlaps(other)}
    return [str(other) for other in collapse_addresses(sorted(found))]


def fetch_used(*, ignore_device: str, nameservers: Sequence[str]) -> list[IPv4Network]:
    """Ask the kernel for every IPv4 network in an address or route, except our own bridge's and the default route.

    Where there is no `ip` to ask with, which the preflight tells, it is the name servers only.
    """
    used = [IPv4Network(server) for server in nameservers]
    if shutil.which("ip", path=environment()["PATH"]) is None:
        return used
    for link in json.loads(run(["ip", "-j", "-4", "addr", "show"]) or "[]"):
        if link.get("ifname") == ignore_device:
            continue
        used += [
            IPv4Network(f"{info['local']}/{info['prefixlen']}", strict=False) for info in link.get("addr_info", [])
        ]
    for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]"):
        if route.get("dev") == ignore_device or route.get("dst") in (None, "default"):
            continue
        try:
            net = ipaddress.ip_network(route["dst"], strict=False)
        except ValueError:
            continue  # a named destination such as "multicast"
        if isinstance(net, IPv4Network) and net.prefixlen > 0:
            used.append(net)
    return used
