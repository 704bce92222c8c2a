"""Runs tasks of a role by the real ansible-playbook on hosts that are nothing but names: only what decides is run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAY_TIMEOUT_S = 120.0


def run_play(
    folder: Path, hosts: Mapping[str, Mapping[str, Any]], tasks: Sequence[Any], outcome: str
) -> dict[str, Any]:
    """Run the tasks on `hosts` (name -> variables), all in the group controllers; return each one's `outcome`.

    `outcome` is a template; where a task fails, it is the failure's message.
    """
    kept = {"verdict": "{{ ansible_failed_result.msg | default('ok') if ansible_failed_result is defined else 'ok' }}"}
    guarded = {
        "block": [*tasks, {"ansible.builtin.set_fact": {"verdict": outcome}}],
        "rescue": [{"ansible.builtin.set_fact": kept}],
    }
    save = {
        "ansible.builtin.copy": {
            "content": "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'verdict')))"
            " | to_json }}",
            "dest": str(folder / "outcomes.json"),
            "mode": "0600",
        },
        "run_once": True,
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": [guarded, save]}
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    group = {"hosts": {name: dict(values) for name, values in hosts.items()}, "vars": shared}
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": {"controllers": group}}}))
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    (folder / "ansible.cfg").write_text("")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.yml", "play.yml"],
        cwd=folder,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(folder / "home"),
        },
        capture_output=True,
        text=True,
        timeout=PLAY_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes: dict[str, Any] = json.loads((folder / "outcomes.json").read_text())
    return outcomes
