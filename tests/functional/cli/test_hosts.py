"""`etcdcompute host`, and what the program says when etcd or placement is away."""

import json
import signal
import socket
import time
from pathlib import Path

from etcdcompute.operations import create_instance
from tests.functional.ports import free_ports
from tests.functional.scheduler.cloud import Cloud, new_instance


def test_hosts_are_listed_with_what_is_used_of_them(cloud: Cloud) -> None:
    first = cloud.add_host("etcd1", vcpus=8, memory_mib=4096, disk_gib=100)
    second = cloud.add_host("etcd2")
    cloud.set_alive(second, alive=False)
    cloud.start_scheduler()
    instance = new_instance(vcpus=2)
    create_instance(cloud.store, instance)
    cloud.wait_assigned(instance.uuid)
    assert cloud.run("host", "cordon", "etcd1").stderr == "etcd1: cordoned\n"
    assert cloud.run("host", "cordon", first).stderr == "etcd1: already cordoned\n"

    lines = cloud.run("host", "list").stdout.splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    assert lines[2].split() == ["etcd1", "cordoned", "2/8", "256/4096", "1/100", "qemu", "1", "-"]
    assert lines[3].split() == ["etcd2", "down", "0/8", "0/4096", "0/100", "qemu", "0", "-"]
    rows = json.loads(cloud.run("host", "list", "--format", "json").stdout)
    assert rows[0]["resources"]["VCPU"] == {"used": 2, "capacity": 8, "total": 8}
    assert rows[0]["host"]["capabilities"]["virt_type"] == "qemu"

    assert cloud.run("host", "uncordon", "etcd1").stderr == "etcd1: not cordoned\n"
    shown = cloud.run("host", "show", "etcd1").stdout
    assert "2 of 8 used" in shown
    assert "up" in shown
    assert cloud.run("host", "show", "nobody").returncode == 3


def test_hosts_of_one_name_are_told_apart_by_uuid(cloud: Cloud) -> None:
    first, second = cloud.add_host("a"), cloud.add_host("b")
    item = cloud.store.get(f"/etcdcompute/v1/hosts/{second}")
    assert item is not None
    cloud.write(item.key, item.value.replace(b'"name":"b"', b'"name":"a"'))
    ended = cloud.run("host", "cordon", "a")
    assert ended.returncode == 4
    assert first in ended.stderr
    assert second in ended.stderr


def test_without_placement_hosts_are_shown_without_use_and_the_reason_follows(cloud: Cloud) -> None:
    cloud.add_host("etcd1")
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    ended = cloud.run("host", "list", ETCDCOMPUTE_PLACEMENT_URLS=nobody)
    assert ended.returncode == 5
    assert ended.stdout.splitlines()[2].split() == ["etcd1", "up", "?", "?", "?", "qemu", "0", "-"]
    assert ended.stderr.startswith(f"etcdcompute: placement at {nobody} cannot be reached")
    assert len(ended.stderr.splitlines()) == 1


def test_without_etcd_one_sentence_names_it_in_time(cloud: Cloud) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    started = time.monotonic()
    ended = cloud.run("instance", "list", ETCDCOMPUTE_ETCD_ENDPOINTS=nobody)
    assert time.monotonic() - started < 10
    assert ended.returncode == 5
    assert nobody in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_wrong_configuration_is_one_sentence(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("scheduler: {leader_ttl: 3}\n")
    ended = cloud.run("--config", str(path), "scheduler", "run")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"etcdcompute: {path}: ")
    assert "leader_ttl" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_systemd_is_told_that_the_scheduler_runs_and_stops(cloud: Cloud, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(20)
        scheduler = cloud.start_scheduler(NOTIFY_SOCKET=address)
        assert systemd.recv(200).startswith(b"READY=1\n")
        assert scheduler.end(signal.SIGTERM) == 0
        said = b""
        while b"STOPPING=1" not in said:
            said = systemd.recv(200)
