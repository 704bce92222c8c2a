"""The lab's network on the host: a bridge, forwarding, address translation, and their removal.

All names are derived from the lab (`Layout.bridge`, `Layout.table`), so removal needs no record.
"""

import json
import re
from pathlib import Path
from typing import Any

from lab import subnet as subnets
from lab import taps
from lab.commands import run, succeeds
from lab.errors import LabError
from lab.layout import Layout
from lab.locks import held
from lab.progress import Progress
from lab.state import State

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# Volatile like the setting itself: who needs forwarding, and what it was before the first of them.
FORWARD_USERS = Path("/run/etcdcompute-lab/forward")
HOST_LOCK = Path("/run/etcdcompute-lab/network.lock")


def rules(table: str, bridge: str, net: str) -> str:
    """Return the lab's own nftables table: nodes reach out under the host's address."""
    return f"""\
table inet {table} {{
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname "{bridge}" accept
        oifname "{bridge}" accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {net} ip daddr != {net} oifname != "{bridge}" masquerade
    }}
}}
"""


def is_up(state: State) -> bool:
    """Return whether the bridge has its address and the table is there."""
    addresses = run(["ip", "-o", "-4", "addr", "show", "dev", state.bridge, "up"], check=False)
    prefix = f"{state.gateway}/{state.network.prefixlen}"
    return f" {prefix} " in addresses and succeeds(["nft", "list", "table", "inet", state.table])


def bring_up(state: State, layout: Layout, mtu: int, progress: Progress) -> bool:
    """Make what is missing of the network; return whether the bridge is a new one, without any node's port."""
    renewed = False
    with held(HOST_LOCK, progress, "another lab that changes this host's network"):
        if not is_up(state):
            progress.say(f"  network {state.subnet} on bridge {state.bridge}")
            take_down(layout)
            _refuse_collision(state)
            run(["ip", "link", "add", state.bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0"])
            prefix = f"{state.gateway}/{state.network.prefixlen}"
            run(["ip", "addr", "add", prefix, "dev", state.bridge])
            run(["ip", "link", "set", state.bridge, "mtu", str(mtu), "up"])
            run(["nft", "-f", "-"], stdin=rules(state.table, state.bridge, state.subnet))
            renewed = True
        _use_forwarding(state.bridge)
        _pass_foreign_chains(state.bridge)
    return renewed


def _refuse_collision(state: State) -> None:
    """Look once more, under the lock: another lab may have taken the subnet since the preflight."""
    used = subnets.fetch_used(ignore_device=state.bridge, nameservers=())
    if any(state.network.overlaps(other) for other in used):
        raise LabError(f"the subnet {state.subnet} was taken meanwhile: `down`, then `up` again chooses another")


def tear_down(layout: Layout, progress: Progress) -> None:
    """Remove the lab's network and give forwarding back the value it had before the first lab."""
    with held(HOST_LOCK, progress, "another lab that changes this host's network"):
        take_down(layout)
        _leave_forwarding(layout.bridge)


def take_down(layout: Layout) -> None:
    """Remove bridge, table and our rules in other tables, as far as they are there."""
    for family, table, chain, handle in _our_foreign_rules(layout.bridge):
        run(["nft", "delete", "rule", family, table, chain, "handle", str(handle)], check=False)
    if succeeds(["nft", "list", "table", "inet", layout.table]):
        run(["nft", "delete", "table", "inet", layout.table])
    bridge = Path("/sys/class/net", layout.bridge)
    if bridge.exists():
        # The kernel removes a dead node's link when it gets round to clearing its namespace, seconds later.
        for port in sorted([*bridge.glob("brif/vb-*"), *bridge.glob(f"brif/{taps.PREFIX}*")]):
            run(["ip", "link", "delete", port.name], check=False)
        run(["ip", "link", "delete", layout.bridge])


def leftovers(layout: Layout) -> list[str]:
    """Return what of the lab's network is still there."""
    found = []
    if Path("/sys/class/net", layout.bridge).exists():
        found.append(f"bridge {layout.bridge}")
    if succeeds(["nft", "list", "table", "inet", layout.table]):
        found.append(f"nftables table inet {layout.table}")
    return found + [f"rule in {table} {chain}" for _, table, chain, _ in _our_foreign_rules(layout.bridge)]


def _use_forwarding(bridge: str) -> None:
    """Switch forwarding on, remembering its value if we are the first lab."""
    FORWARD_USERS.mkdir(parents=True, exist_ok=True)
    value = FORWARD.read_text().strip()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    before = FORWARD_USERS / "before"
    if _forwarding_before() is None:
        before.write_text(f"{boot} {value}\n")
    (FORWARD_USERS / bridge).touch()
    if value == "0":
        FORWARD.write_text("1")


def _forwarding_before() -> str | None:
    """Return forwarding's value before the first lab of this boot; an older boot's record says nothing."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        recorded, value = (FORWARD_USERS / "before").read_text().split()
    except (OSError, ValueError):
        return None
    return value if recorded == boot else None


def _leave_forwarding(bridge: str) -> None:
    """Give up our share; the last lab puts the old value back and removes the record."""
    (FORWARD_USERS / bridge).unlink(missing_ok=True)
    if not FORWARD_USERS.is_dir():
        return
    users = [path for path in FORWARD_USERS.iterdir() if path.name != "before"]
    if any(Path("/sys/class/net", path.name).exists() for path in users):
        return
    value = _forwarding_before()
    if value is not None and FORWARD.read_text().strip() != value:
        FORWARD.write_text(value)
    for path in [*users, FORWARD_USERS / "before"]:
        path.unlink(missing_ok=True)
    FORWARD_USERS.rmdir()
    HOST_LOCK.unlink()  # we hold it
    HOST_LOCK.parent.rmdir()


def _ruleset() -> list[dict[str, Any]]:
    """Return nft's JSON view of all rules."""
    text = run(["nft", "-j", "-a", "list", "ruleset"], check=False)
    try:
        return list(json.loads(text)["nftables"]) if text else []
    except (ValueError, KeyError):
        return []


def _comment(bridge: str) -> str:
    return f"etcdcompute lab {bridge}"


def _our_foreign_rules(bridge: str) -> list[tuple[str, str, str, int]]:
    """Return (family, table, chain, handle) of the rules that `_pass_foreign_chains` made for this bridge."""
    rules_ = (item["rule"] for item in _ruleset() if "rule" in item)
    return [
        (rule["family"], rule["table"], rule["chain"], int(rule["handle"]))
        for rule in rules_
        if rule.get("comment") == _comment(bridge)
    ]


def blocking_chains(ruleset: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (family, table, chain) of the forward chains of others that would drop the nodes' packets.

    Accepting in a table of our own doesn't overrule a drop elsewhere (docker sets the policy of `ip filter FORWARD`
    to drop, firewalld and hand-written firewalls do the like), so such chains get a rule of ours in front.
    """
    return [
        (chain["family"], chain["table"], chain["name"])
        for chain in (item["chain"] for item in ruleset if "chain" in item)
        if chain.get("hook") == "forward"
        and chain["family"] in ("ip", "inet")
        and not re.match(r"etcdcompute_lab_", chain["table"])
        and (chain.get("policy") == "drop" or chain["table"] == "firewalld")
    ]


def _pass_foreign_chains(bridge: str) -> None:
    """Let the nodes' packets pass the forward chains of others that drop."""
    present = {(family, table, chain) for family, table, chain, _ in _our_foreign_rules(bridge)}
    for family, table, chain in blocking_chains(_ruleset()):
        if (family, table, chain) in present:
            continue
        for direction in ("iifname", "oifname"):
            rule = f'insert rule {family} {table} {chain} {direction} "{bridge}" accept comment "{_comment(bridge)}"'
            run(["nft", "-f", "-"], stdin=rule + "\n")
