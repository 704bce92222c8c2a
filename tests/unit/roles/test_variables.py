"""Every variable of the roles is described, with one default, wherever a user may look it up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from etcdcompute.config import Settings
from tests.unit.roles.play import ROOT

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
EXAMPLE = ROOT / "inventories" / "example" / "group_vars" / "all.yml"
# Of Ansible itself, which has no role.
CONNECTION = {"ansible_user"}


def defaults_of(role: str) -> dict[str, Any]:
    """Return the role's variables with their defaults."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    return found


def options_of(role: str) -> dict[str, Any]:
    """Return the role's variables as its argument_specs.yml describes them."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def readme_of(role: str) -> dict[str, str]:
    """Return the rows of the table in the role's README: variable -> (default, description)."""
    text = (ROOT / "roles" / role / "README.md").read_text()
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", text, re.MULTILINE))


def is_computed(value: Any) -> bool:
    """Tell whether a default depends on the host or on other variables."""
    return isinstance(value, str) and "{{" in value


def described_default(option: dict[str, Any]) -> Any:
    """Return the default that a description gives, put together where it is given piece by piece."""
    if "options" in option:
        return {name: piece["default"] for name, piece in option["options"].items()}
    return option.get("default")


@pytest.mark.parametrize("role", ROLES)
def test_descriptions_have_the_variables_and_their_defaults(role: str) -> None:
    fixed = {name: None if is_computed(value) else value for name, value in defaults_of(role).items()}
    assert {name: described_default(option) for name, option in options_of(role).items()} == fixed


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_has_the_variables_and_their_defaults(role: str) -> None:
    shown = readme_of(role)
    assert list(shown) == list(options_of(role))
    for name, value in defaults_of(role).items():
        if is_computed(value):
            assert shown[name] == "", name
        elif isinstance(value, dict) and value:
            assert shown[name] == f"`{', '.join(f'{key}: {each}' for key, each in value.items())}`", name
        else:
            assert shown[name] == (f"`{value}`" if value != "" else "empty"), name


def test_the_example_inventory_explains_every_variable_with_its_default() -> None:
    defaults = {name: value for role in ROLES for name, value in defaults_of(role).items()}
    text = EXAMPLE.read_text()
    active = yaml.safe_load(text)
    commented = set(re.findall(rf"^# ((?:{'|'.join(ROLES)})_\w+):", text, re.MULTILINE))
    assert set(active) | commented == set(defaults) | CONNECTION
    assert commented == {name for name, value in defaults.items() if is_computed(value)}
    assert {name: value for name, value in active.items() if name not in CONNECTION} == {
        name: value for name, value in defaults.items() if not is_computed(value)
    }


def test_settings_that_the_example_names_exist() -> None:
    settings = Settings()
    text = EXAMPLE.read_text()
    found = re.findall(r"^# More of the section (\w+): (.*?)\.\n\w+_settings: \{\}$", text, re.MULTILINE)
    assert {section for section, _names in found} == {"etcd", "placement", "scheduler", "agent"}
    for section, names in found:
        assert set(names.split(", ")) <= set(getattr(settings, section).__struct_fields__), section


def test_what_roles_and_daemons_both_have_as_defaults_agrees() -> None:
    agent, scheduler = Settings().agent, Settings().scheduler
    compute = defaults_of("compute")
    assert compute["compute_reserved"] == agent.reserved
    assert compute["compute_allocation_ratios"] == agent.allocation_ratios
    assert compute["compute_state_dir"] == agent.state_dir
    assert compute["compute_virt_type"] == agent.virt_type
    assert defaults_of("scheduler")["scheduler_leader_ttl_s"] == scheduler.leader_ttl_s


def test_the_token_beside_the_inventory_is_not_taken_for_a_host(tmp_path: Path) -> None:
    folder = tmp_path / "mycloud"
    shutil.copytree(EXAMPLE.parents[1], folder, ignore=shutil.ignore_patterns(".*"))
    variables = yaml.safe_load((ROOT / "roles" / "stack" / "vars" / "main.yml").read_text())
    token = Path(variables["_stack_token_file"].replace("{{ inventory_dir }}", str(folder)))
    token.parent.mkdir()
    token.write_text("aSecretToken\n")
    command = [str(Path(sys.executable).parent / "ansible"), "-i", str(folder), "all", "--list-hosts"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["hosts", "(4):", "node1", "node2", "node3", "node4"]


def test_the_playbook_of_instances_passes_every_option_of_the_module_on() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks" / "instances.yml").read_text())
    (task,) = play["tasks"]
    source = (ROOT / "plugins" / "modules" / "instance.py").read_text()
    documented = yaml.safe_load(source.split('DOCUMENTATION = r"""')[1].split('"""')[0])
    waiting = yaml.safe_load(fragment("wait"))
    expected = set(documented["options"]) | set(waiting["options"]) | {"etcd_endpoints"}
    assert set(task["etcdcompute.cloud.instance"]) == expected


def fragment(name: str) -> str:
    """Return the YAML of a documentation fragment."""
    source = Path(ROOT / "plugins" / "doc_fragments" / f"{name}.py").read_text()
    return source.split('DOCUMENTATION = r"""')[1].split('"""')[0]
