"""How modules reach etcd: several members, users and passwords, TLS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etcdcompute.model import keys
from tests.functional.etcd_server import EtcdCluster, EtcdServer, encoded
from tests.functional.kv.test_tls import make_pki
from tests.functional.plugins.playbook import Playbooks, failed
from tests.functional.ports import free_ports

TASK: dict[str, Any] = {
    "instance": {
        "name": "vm1",
        "wait": False,
        "image": {"url": "/srv/images/guest.qcow2", "sha256": "0" * 64},
        "resources": {"vcpus": 1, "memory_mib": 128, "disk_gib": 1},
    }
}


def with_options(**options: object) -> dict[str, Any]:
    return {"instance": TASK["instance"] | options}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd where alice may read and write, and bob nothing."""
    with EtcdServer(tmp_path_factory.mktemp("guarded"), arguments=["--bcrypt-cost=4"]) as server:
        for user, role in (("root", "root"), ("alice", "clients"), ("bob", "nobody")):
            server.post("/v3/auth/user/add", {"name": user, "password": "a-secret"})
            server.post("/v3/auth/role/add", {"name": role})
            server.post("/v3/auth/user/grant", {"user": user, "role": role})
        permission = {"permType": "READWRITE", "key": encoded("/etcdcompute/"), "range_end": encoded("/etcdcompute0")}
        server.post("/v3/auth/role/grant", {"name": "clients", "perm": permission})
        server.post("/v3/auth/enable", {})
        yield server


def test_users_and_passwords(tmp_path: Path, guarded: EtcdServer) -> None:
    playbooks = Playbooks(tmp_path, {"ETCDCOMPUTE_ETCD_ENDPOINTS": guarded.endpoint})
    running = playbooks.start(
        with_options(etcd_username="alice", etcd_password="a-secret"),
        with_options(etcd_username="alice", etcd_password="a-secret", state="stopped", wait=True, timeout=1),
        TASK,
        with_options(etcd_username="alice", etcd_password="wrong-one"),
        with_options(etcd_username="bob", etcd_password="a-secret"),
        with_options(etcd_username="alice"),
    )
    results = running.results()
    assert results[0]["changed"] is True
    messages = failed(results)
    expected = [
        "is not stopped after 1 s",
        "etcd wants to know who asks: set etcd_username and etcd_password",
        "etcd does not accept etcd_username 'alice'",
        "etcd does not allow its user 'bob' to do this",
        "etcd_password",
    ]
    assert len(messages) == len(expected)
    for words, message in zip(expected, messages, strict=True):
        assert words in message
    shown = str([{key: value for key, value in each.items() if key != "invocation"} for each in results])
    assert "a-secret" not in shown
    assert "wrong-one" not in shown


def test_a_password_that_nobody_asks_for_is_named(playbooks: Playbooks) -> None:
    (result,) = playbooks.run(with_options(etcd_username="alice", etcd_password="a-secret"))
    assert "etcd asks nobody for a password: leave out" in result["msg"]


def test_https_with_client_certificates(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    arguments = [
        f"--cert-file={pki.server[0]}",
        f"--key-file={pki.server[1]}",
        f"--trusted-ca-file={pki.ca}",
        "--client-cert-auth",
    ]
    certificate = {"etcd_cert_file": str(pki.client[0]), "etcd_key_file": str(pki.client[1])}
    with EtcdServer(tmp_path / "etcd", scheme="https", arguments=arguments) as server:
        playbooks = Playbooks(tmp_path, {"ETCDCOMPUTE_ETCD_ENDPOINTS": server.endpoint})
        trusted, untrusted, bare, unchecked = playbooks.run(
            with_options(etcd_ca_file=str(pki.ca), **certificate),
            with_options(**certificate),
            with_options(etcd_ca_file=str(pki.ca)),
            with_options(etcd_validate_certs=False, state="absent", **certificate),
        )
    assert failed([trusted, unchecked]) == []
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted["msg"]
    assert server.endpoint in bare["msg"]


def test_a_dead_and_a_frozen_member_are_passed_over(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path / "cluster") as cluster:
        leader = cluster.leader()
        frozen = next(member for member in cluster.members if member is not leader)
        others = [member.endpoint for member in cluster.members if member is not frozen]
        nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
        playbooks = Playbooks(tmp_path, {})
        frozen.freeze()
        try:
            results = playbooks.run(
                with_options(etcd_endpoints=[nobody, frozen.endpoint, *others]),
                with_options(etcd_endpoints=[nobody], etcd_request_timeout=1),
            )
        finally:
            frozen.thaw()
        assert results[0]["changed"] is True, results[0]
        assert f"etcd cannot be reached ({nobody}: " in results[1]["msg"]
        assert "is etcd_endpoints right" in results[1]["msg"]
        listed = leader.post("/v3/kv/range", {"key": encoded(keys.instance_name("vm1"))})
        assert listed["count"] == "1"


def test_the_action_group_sets_the_connections_of_all_modules(tmp_path: Path) -> None:
    (nowhere,) = (f"http://127.0.0.1:{port}" for port in free_ports(1))
    defaults = {
        "etcd_endpoints": [nowhere],
        "etcd_request_timeout": 1,
        "placement_urls": [nowhere],
        "placement_request_timeout": 1,
    }
    tasks = [
        TASK,
        {"instance_info": {}},
        {"resource_provider": {"name": "nfs1"}},
        {"resource_provider_info": {}},
    ]
    running = Playbooks(tmp_path, {}).start(*tasks, module_defaults={"group/etcdcompute.cloud.all": defaults})
    messages = failed(running.results())
    assert len(messages) == len(tasks)
    assert all(f"cannot be reached ({nowhere}: " in message for message in messages)
