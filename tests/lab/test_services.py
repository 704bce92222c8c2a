"""What the playbook left on each node, seen through testinfra."""

import json

import pytest
from testinfra.host import Host

from tests.lab.cloud import Cloud

CONTROLLER_UNITS = ("etcd", "etcdcompute-placement", "etcdcompute-scheduler")
COMPUTE_UNITS = ("etcdcompute-agent",)


@pytest.fixture
def name(host: Host) -> str:
    """The inventory's name of the node that a test runs on."""
    return str(host.backend.get_hostname())


def expected_units(cloud: Cloud, name: str) -> list[str]:
    units: list[str] = []
    if name in {node.name for node in cloud.controllers}:
        units += CONTROLLER_UNITS
    if name in {node.name for node in cloud.computes}:
        units += COMPUTE_UNITS
    return units


def test_daemons_run_and_are_enabled(host: Host, cloud: Cloud, name: str) -> None:
    for unit in expected_units(cloud, name):
        service = host.service(unit)
        assert service.is_running, unit
        assert service.is_enabled, unit


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend 'etcd*' '*virt*'") == ""


def test_controllers_listen_where_others_look_for_them(host: Host, cloud: Cloud, name: str) -> None:
    if name not in {node.name for node in cloud.controllers}:
        assert not host.socket("tcp://2379").is_listening
        assert not host.socket("tcp://8778").is_listening
        return
    address = cloud.nodes[name].address
    for port in (2379, 8778):
        assert host.socket(f"tcp://{address}:{port}").is_listening


def test_the_configuration_keeps_its_secret(host: Host) -> None:
    file = host.file("/etc/etcdcompute/etcdcompute.yaml")
    assert file.exists
    assert file.user == "root"
    assert file.mode & 0o007 == 0


def test_placement_is_healthy_and_wants_its_token(host: Host, cloud: Cloud) -> None:
    url = cloud.placement_urls[0]
    fetch = "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).status)'"
    assert host.check_output(f"{fetch} {url}/healthcheck") == "200"
    refused = host.run(f"{fetch} {url}/resource_providers")
    assert refused.rc != 0
    assert "401" in refused.stderr


def test_libvirt_answers_and_its_network_is_up(host: Host, cloud: Cloud, name: str) -> None:
    if name not in {node.name for node in cloud.computes}:
        pytest.fail(f"{name} is in no test of compute hosts: the lab's nodes are all compute hosts")
    assert host.run("virsh --connect qemu:///system list").rc == 0
    assert host.check_output("virsh --quiet net-list --name --autostart").split() == ["default"]


def test_every_host_is_up_in_the_command_line(host: Host, cloud: Cloud, name: str) -> None:
    if name not in {node.name for node in cloud.controllers}:
        return
    hosts = json.loads(host.check_output("etcdcompute host list --format json"))
    assert {row["name"]: row["state"] for row in hosts} == {node.name: "up" for node in cloud.computes}
