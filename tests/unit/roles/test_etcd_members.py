"""Who is to be restarted and who joins, as the role etcd decides it before it touches any member."""

from pathlib import Path
from typing import Any

import yaml

from tests.unit.roles.play import ROOT, run_play

OUTCOME = {
    "new_cluster": "{{ _etcd_new_cluster }}",
    "newcomers": "{{ _etcd_newcomers }}",
    "to_restart": "{{ _etcd_to_restart }}",
}


def decide(folder: Path, hosts: dict[str, dict[str, Any]]) -> Any:
    """Return what the first host would do; hosts without `found` are those that the role does not look at."""
    tasks = yaml.safe_load((ROOT / "roles" / "etcd" / "tasks" / "service.yml").read_text())
    (decisions,) = (task["vars"] for task in tasks if "vars" in task)
    looked = {f"_etcd_{name}": f"{{{{ found.{name} }}}}" for name in ("is_new", "is_changed", "status")}
    steps = [
        {"ansible.builtin.set_fact": looked, "when": "found is defined"},
        {
            "ansible.builtin.set_fact": {"decided": OUTCOME},
            "vars": {**decisions, "etcd_group": "controllers"},
            "when": "found is defined",
        },
    ]
    return run_play(folder, hosts, steps, "{{ decided | default('nothing') }}")[next(iter(hosts))]


def member(*, is_new: bool = False, is_changed: bool = False, status: int = 200) -> dict[str, Any]:
    """Return what the role found out about a member."""
    return {"found": {"is_new": is_new, "is_changed": is_changed, "status": status}}


def test_members_that_stay_go_on_while_one_leaves(tmp_path: Path) -> None:
    decided = decide(tmp_path, {"one": member(is_changed=True), "two": member(), "three": {"etcd_state": "absent"}})
    assert decided == {"new_cluster": False, "newcomers": [], "to_restart": ["one"]}


def test_a_host_without_data_joins_and_members_that_are_down_are_restarted_first(tmp_path: Path) -> None:
    hosts = {"one": member(is_changed=True), "two": member(is_changed=True, status=0), "three": member(is_new=True)}
    assert decide(tmp_path, hosts) == {"new_cluster": False, "newcomers": ["three"], "to_restart": ["two", "one"]}


def test_a_cluster_is_new_where_nobody_has_data(tmp_path: Path) -> None:
    decided = decide(tmp_path, {"one": member(is_new=True), "two": member(is_new=True)})
    assert decided == {"new_cluster": True, "newcomers": ["one", "two"], "to_restart": []}
