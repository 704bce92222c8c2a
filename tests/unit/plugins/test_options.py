"""The options that modules share: documented as they are, and checked before anything is sent."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.etcdcompute.cloud.plugins.module_utils import options
from ansible_collections.etcdcompute.cloud.plugins.module_utils.errors import ModuleError

from etcdcompute.config import EtcdSettings, PlacementSettings

ROOT = Path(__file__).resolve().parents[3]
FRAGMENTS = "ansible_collections.etcdcompute.cloud.plugins.doc_fragments"
PARAMS: dict[str, Any] = {
    "etcd_endpoints": ["http://127.0.0.1:2379"],
    "etcd_username": None,
    "etcd_password": None,
    "etcd_ca_file": None,
    "etcd_cert_file": None,
    "etcd_key_file": None,
    "etcd_validate_certs": True,
    "etcd_request_timeout": 5.0,
}


@pytest.mark.parametrize(
    ("fragment", "spec"),
    [
        ("etcd", options.etcd_options()),
        ("placement", options.placement_options()),
        ("wait", options.wait_options()),
        ("state", options.state_options()),
    ],
)
def test_a_fragment_documents_exactly_its_options(fragment: str, spec: dict[str, Any]) -> None:
    module = importlib.import_module(f"{FRAGMENTS}.{fragment}")
    documented = yaml.safe_load(module.ModuleDocFragment.DOCUMENTATION)["options"]
    assert set(documented) == set(spec)
    for name, option in spec.items():
        for field in ("type", "elements", "default", "choices"):
            assert documented[name].get(field) == option.get(field), (name, field)
        if "fallback" in option:
            (variable,) = option["fallback"][1]
            assert f"E({variable})" in str(documented[name]["description"])


@pytest.mark.parametrize(
    ("section", "settings", "spec"),
    [
        ("etcd", EtcdSettings, options.etcd_options()),
        ("placement", PlacementSettings, options.placement_options()),
    ],
)
def test_variables_and_defaults_are_those_of_the_daemons(section: str, settings: Any, spec: dict[str, Any]) -> None:
    for name, option in spec.items():
        (variable,) = option["fallback"][1]
        setting = variable.removeprefix(f"ETCDCOMPUTE_{section.upper()}_").lower()
        assert setting.removesuffix("_s") == name.removeprefix(f"{section}_")
        if setting in settings.__struct_fields__ and "default" in option:
            default = getattr(settings(), setting)
            assert option["default"] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"etcd_endpoints": []}, "^etcd_endpoints: the list is empty"),
        ({"etcd_endpoints": ["127.0.0.1:2379"]}, "^etcd_endpoints: '127.0.0.1:2379' is not a URL; write it as"),
        ({"etcd_ca_file": "/nowhere/ca.pem"}, "^etcd_ca_file: the file /nowhere/ca.pem cannot be read"),
        ({"etcd_request_timeout": 0.0}, "^etcd_request_timeout: 0.0 is not more than 0 seconds"),
        ({"etcd_username": "alice"}, "^etcd_username and etcd_password go together"),
    ],
)
def test_a_wrong_connection_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModuleError, match=words):
        options.connect_etcd(PARAMS | change)


def test_a_timeout_below_a_second_is_refused() -> None:
    with pytest.raises(ModuleError, match=r"^timeout: 0 is too short"):
        options.check_timeout({"timeout": 0})


def test_every_module_is_in_the_action_group() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
    assert groups["all"] == modules
