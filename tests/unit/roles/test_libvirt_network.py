"""The network of the instances must not be one that the host is in itself, whatever the masks."""

from pathlib import Path
from typing import Any

from tests.unit.roles.play import run_play


def a_host(address: str, netmask: str, *, device: str = "br-lan", **variables: Any) -> dict[str, Any]:
    """Return a host's variables: one interface with an address, given as the facts that setup would gather."""
    return {"device": device, "interface": {"ipv4": {"address": address, "netmask": netmask}}, **variables}


def test_a_network_that_overlaps_one_of_the_hosts_is_refused(tmp_path: Path) -> None:
    second = a_host("10.0.0.5", "255.255.255.0")
    second["interface"]["ipv4_secondaries"] = [{"address": "192.168.221.9", "netmask": "255.255.255.0"}]
    refused = {
        "same": a_host("192.168.221.7", "255.255.255.0"),
        "around": a_host("192.168.0.7", "255.255.0.0"),
        "inside": a_host("192.168.221.200", "255.255.255.192"),
        "neighbour": a_host("10.9.3.1", "255.255.255.0", libvirt_network_gateway="10.9.0.1",
                            libvirt_network_netmask="255.255.252.0"),
        "secondary": second,
        "prefix": a_host("10.0.0.5", "255.255.255.0", libvirt_network_netmask="24"),
        "typo": a_host("10.0.0.5", "255.255.255.0", libvirt_network_gateway="192.168.2221.1"),
    }  # fmt: skip
    accepted = {
        "apart": a_host("192.168.222.7", "255.255.255.0"),
        "halves": a_host("192.168.221.7", "255.255.255.128", libvirt_network_gateway="192.168.221.129",
                         libvirt_network_netmask="255.255.255.128"),
        "own": a_host("192.168.221.1", "255.255.255.0", device="virbr0"),
        "point": a_host("100.64.0.1", ""),
        "bare": {"device": "tun0", "interface": {"mtu": 1400}},
    }  # fmt: skip
    facts = {
        "cacheable": True,
        "distribution": "Debian",
        "distribution_version": "13.1",
        "distribution_major_version": "13",
        "architecture": "x86_64",
        "interfaces": ["lo", "{{ device }}"],
        "{{ device | replace('-', '_') }}": "{{ interface }}",
    }
    tasks = [
        {"ansible.builtin.set_fact": facts},
        {"ansible.builtin.import_role": {"name": "etcdcompute.cloud.libvirt", "tasks_from": "preflight"}},
    ]
    outcomes = run_play(tmp_path, refused | accepted, tasks, "ok")
    assert {name for name, outcome in outcomes.items() if outcome == "ok"} == set(accepted)
    assert outcomes["typo"].startswith("typo: 192.168.2221.1 in libvirt_network_gateway,")
    assert outcomes["prefix"].startswith("prefix: 24 in ")
    refused = {name: case for name, case in refused.items() if name not in ("typo", "prefix")}
    assert all("is itself in the network" in outcomes[name] for name in refused)
    assert "by br_lan 192.168.0.7/255.255.0.0: choose" in outcomes["around"]
