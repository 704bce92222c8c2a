"""What is to be installed is looked for before anything is done."""

from pathlib import Path
from typing import Any

from tests.unit.roles.play import run_play


def test_what_is_to_be_installed_has_to_be_named_and_there(tmp_path: Path) -> None:
    wheel = tmp_path / "etcdcompute-0.1.0-py3-none-any.whl"
    wheel.touch()
    cases: dict[str, dict[str, Any]] = {
        "checkout": {},
        "requirement": {"stack_package": "etcdcompute==0.1.0"},
        "address": {"stack_package": "etcdcompute @ https://example.org/etcdcompute-0.1.0-py3-none-any.whl"},
        "wheel": {"stack_package": str(wheel)},
        "nothing": {"without_sources": True},
        "relative": {"stack_package": "dist/etcdcompute-0.1.0-py3-none-any.whl"},
        "absent": {"stack_package": str(tmp_path / "absent")},
        "constraints": {"stack_constraints": "~/surely/not/there.txt"},
    }
    facts = {
        "cacheable": True,
        "distribution": "Debian",
        "distribution_version": "12.5",
        "distribution_major_version": "12",
        "architecture": "x86_64",
    }
    preflight = {
        "ansible.builtin.import_role": {"name": "etcdcompute.cloud.stack", "tasks_from": "preflight"},
        "vars": {"_stack_has_sources": "{{ not without_sources | default(false) }}"},
    }
    verdicts = run_play(tmp_path, cases, [{"ansible.builtin.set_fact": facts}, preflight], "ok")
    assert {name for name, verdict in verdicts.items() if verdict == "ok"} == {
        "checkout",
        "requirement",
        "address",
        "wheel",
    }
    assert "set stack_package to what is to be installed" in verdicts["nothing"]
    assert "(dist/etcdcompute-0.1.0-py3-none-any.whl)" in verdicts["relative"]
    assert "(~/surely/not/there.txt)" in verdicts["constraints"]
