"""What the role neo4j decides before it touches a host, and what other roles are told of its server."""

from pathlib import Path
from typing import Any

from tests.unit.roles.play import run_play

FACTS = {
    "cacheable": True,
    "distribution": "Debian",
    "distribution_version": "12.5",
    "distribution_major_version": "12",
    "architecture": "x86_64",
    "memtotal_mb": 16000,
    "default_ipv4": {"address": "192.0.2.11"},
}
PASSWORD = "a-password/of:the@tests"


def of_role(part: str) -> dict[str, Any]:
    return {"ansible.builtin.import_role": {"name": "etcdcompute.cloud.neo4j", "tasks_from": part}}


def decide(folder: Path, cases: dict[str, dict[str, Any]], tasks: list[dict[str, Any]], outcome: str) -> dict[str, Any]:
    """Return what becomes of each case, a host of its own with its variables; the inventory sorts them by name."""
    hosts = {name: {"neo4j_password": PASSWORD, **values} for name, values in cases.items()}
    return run_play(folder, hosts, [{"ansible.builtin.set_fact": FACTS}, *tasks], outcome)


def test_its_settings_have_to_make_sense(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "maven": {},
        "apt": {"neo4j_install_method": "apt"},
        "version": {"neo4j_version": "2025.10.1"},
        "anywhere": {"neo4j_listen_address": "0.0.0.0"},
        "port": {"neo4j_port": 70000},
        "short": {"neo4j_password": "short"},
        "comment": {"neo4j_password": "#comment-of-a-file"},
        "strange": {"neo4j_password": "a b/@:é$x%2F#'\""},
        "absent": {"neo4j_state": "absent", "neo4j_port": 70000},
    }
    each_runs_it = of_role("preflight") | {"vars": {"_neo4j_server": "{{ inventory_hostname }}"}}
    verdicts = decide(tmp_path, cases, [each_runs_it], "ok")
    assert {name for name, verdict in verdicts.items() if verdict == "ok"} == {"maven", "apt", "strange", "absent"}
    for name in ("version", "anywhere", "port"):
        assert "one of 5.26" in verdicts[name]


def test_one_host_runs_it(tmp_path: Path) -> None:
    verdicts = decide(tmp_path, {"one": {}, "two": {}}, [of_role("preflight")], "ok")
    assert verdicts["one"] == "ok"
    assert "exactly one host runs it" in verdicts["two"]


def test_the_url_is_that_of_the_server_whoever_asks(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"one": {}, "other": {}, "port": {"neo4j_port": 7688}}
    urls = decide(tmp_path, cases, [of_role("url")], "{{ _neo4j_url }}")
    url = "neo4j://neo4j:a-password%2Fof%3Athe%40tests@192.0.2.11"
    assert urls == {"one": f"{url}:7687", "other": f"{url}:7687", "port": f"{url}:7688"}


def test_an_address_of_its_own_is_what_others_are_told(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"one": {"neo4j_listen_address": "2001:db8::11"}, "other": {}}
    urls = decide(tmp_path, cases, [of_role("url")], "{{ _neo4j_url.split('@')[-1] }}")
    assert urls == {"one": "[2001:db8::11]:7687", "other": "[2001:db8::11]:7687"}


def test_only_controllers_are_told_where_the_graph_is(tmp_path: Path) -> None:
    neo4j = {"stack_placement_token": "t", "placement_graph": "neo4j"}
    cases: dict[str, dict[str, Any]] = {
        "compute": neo4j,
        "controller": neo4j,
        "etcd": neo4j | {"placement_graph": "etcd"},
        "own": neo4j | {"stack_placement_settings": {"graph": "neo4j://a:b@c:1"}},
    }
    # What the role stack would write; all hosts of these plays are in the group of the controllers.
    stack = {"ansible.builtin.import_role": {"name": "etcdcompute.cloud.stack", "tasks_from": "preflight"}}
    wanted = {
        "ansible.builtin.set_fact": {"graph": "{{ _stack_sections.placement.graph | default('') }}"},
        "vars": {"_stack_addresses": {"controller": "192.0.2.11", "etcd": "192.0.2.12", "own": "192.0.2.13"}},
    }
    graphs = decide(tmp_path, cases, [of_role("url"), stack, wanted], "{{ graph }}")
    assert graphs["controller"].startswith("neo4j://neo4j:")
    assert (graphs["compute"], graphs["etcd"], graphs["own"]) == ("", "", "neo4j://a:b@c:1")


def test_memory_follows_the_host_unless_it_is_set(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"computed": {}, "set": {"neo4j_heap_mib": 1000, "neo4j_page_cache_mib": 300}}
    sizes = "{{ [_neo4j_heap_mib, _neo4j_page_cache_mib, _neo4j_transactions_mib] | map('int') }}"
    computed = decide(tmp_path, cases, [of_role("url"), {"ansible.builtin.set_fact": {"sizes": sizes}}], "{{ sizes }}")
    assert computed == {"computed": [2000, 1000, 1000], "set": [1000, 300, 500]}
