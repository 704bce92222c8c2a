from typing import Any

from lab import network


def chain(family: str, table: str, name: str, hook: str | None, policy: str = "accept") -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, "hook": hook, "policy": policy}}


def test_only_forward_chains_of_others_that_drop_get_a_rule() -> None:
    ruleset = [
        {"metainfo": {}},
        chain("ip", "filter", "FORWARD", "forward", "drop"),
        chain("ip", "filter", "INPUT", "input", "drop"),
        chain("ip6", "filter", "FORWARD", "forward", "drop"),
        chain("inet", "mine", "forward", "forward"),
        chain("inet", "firewalld", "filter_FORWARD", "forward"),
        chain("inet", "etcdcompute_lab_other_1", "forward", "forward", "drop"),
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}},
    ]
    assert network.blocking_chains(ruleset) == [
        ("ip", "filter", "FORWARD"),
        ("inet", "firewalld", "filter_FORWARD"),
    ]


def test_the_labs_table_translates_only_what_leaves_the_lab() -> None:
    rules = network.rules("t", "lab1", "10.1.2.0/24")
    assert 'ip saddr 10.1.2.0/24 ip daddr != 10.1.2.0/24 oifname != "lab1" masquerade' in rules
