"""The configuration: file, environment and what is wrong with them."""

from pathlib import Path

import pytest

from etcdcompute.config import ConfigError, load_settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "etcdcompute.yaml"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "etcd: {endpoints: ['http://a:2379']}\nagent: {virt_type: qemu}\nscheduler:\n")
    settings = load_settings(
        path,
        {
            "ETCDCOMPUTE_ETCD_ENDPOINTS": "http://b:2379, http://c:2379",
            "ETCDCOMPUTE_AGENT_RESERVED": "MEMORY_MB=256,DISK_GB=2",
            "ETCDCOMPUTE_AGENT_ALIVE_TTL_S": "7",
        },
    )
    assert settings.etcd.endpoints == ("http://b:2379", "http://c:2379")
    assert settings.agent.virt_type == "qemu"
    assert settings.agent.reserved == {"MEMORY_MB": 256, "DISK_GB": 2}
    assert settings.agent.alive_ttl_s == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agnet: {}", "agnet"),
        ("agent: {virt_typ: kvm}", "virt_typ"),
        ("agent: {virt_type: xen}", "virt_type"),
        ("agent: {reserved: {VCPU: -1}}", "reserved"),
        ("agent: {reserved: {MEMORY: 512}}", "reserved: MEMORY is not among VCPU, MEMORY_MB, DISK_GB"),
        ("agent: {allocation_ratios: {VCPUS: 2.0}}", "allocation_ratios: VCPUS"),
        ("etcd: {endpoints: ['b:2379']}", "endpoints"),
        ("etcd: {endpoints: []}", "endpoints"),
        ("etcd: [1]", "mapping of sections"),
        ("just words", "mapping of sections"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ETCDCOMPUTE_AGENT_ALIVE_TTL_S", "soon"),
        ("ETCDCOMPUTE_AGENT_RESERVED", "MEMORY_MB"),
        ("ETCDCOMPUTE_AGENT_IMAGE_TIMEOUT_S", "x"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        load_settings(write(tmp_path, ""), {variable: value})


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_settings(tmp_path / "absent.yaml", {})
