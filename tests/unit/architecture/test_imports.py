"""Dependencies point inward: who may import whom."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src" / "etcdcompute"

# A package may import itself, what is listed here, and what everybody may.
EVERYBODY_MAY = {"errors", "deadline", "failpoint", "model", "config", "workqueue", "systemd", "__init__"}
MAY_IMPORT = {
    "model": set(),
    "errors": set(),
    "deadline": set(),
    "failpoint": set(),
    "workqueue": set(),
    "config": set(),
    "systemd": set(),
    "kv": set(),
    "placement.records": set(),
    "placement.candidates": {"placement.records"},
    "placement.insight": {"placement.records", "placement.candidates"},
    # How to wait, for all that waits: no I/O of its own.
    "placement.suspension": set(),
    # The store protocol offers candidate search: its values, and the search itself, are candidates'.
    "placement.graph": {"placement.records", "placement.candidates", "placement.insight", "placement.suspension", "kv"},
    "placement.api": {
        "placement.records",
        "placement.candidates",
        "placement.insight",
        "placement.graph",
        "placement.suspension",
    },
    # Examples for people: they ask a store, as the API does.
    "placement.demo": {"placement.candidates", "placement.graph"},
    "placement": {"kv"},
    "operations": {"kv", "placement.client"},
    "scheduler": {"kv", "placement.client"},
    "agent": {"kv", "placement.client", "placement.clocks"},
    "cli": {"kv", "placement", "operations", "scheduler", "agent"},
}
# Libraries that one place alone may know.
CONFINED = {
    "etcd3": {"kv"},
    "grpc": {"kv"},
    "google.protobuf": {"kv"},
    "greenlet": {"placement.suspension"},
    "libvirt": {"agent"},
    "neo4j": {"placement.graph"},
    "starlette": {"placement"},
    "uvicorn": {"placement"},
    "oslo_config": {"placement.api.policy"},
    "oslo_policy": {"placement.api.policy"},
    "click": {"cli"},
    "pycdlib": {"agent"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def rule_for(module: str) -> str:
    rules = [rule for rule in MAY_IMPORT if below(module, rule)]
    assert rules, f"etcdcompute.{module} belongs to no layer: add it to MAY_IMPORT, or put it where it belongs"
    return max(rules, key=len)


MODULES = sorted(p for p in SOURCE.rglob("*.py") if module_name(p) not in {"__init__", "__main__"})


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_dependencies_point_inward(path: Path) -> None:
    module = module_name(path)
    rule = rule_for(module)
    allowed = {rule} | MAY_IMPORT[rule] | EVERYBODY_MAY
    for name in imports(path):
        if below(name, "etcdcompute") and name != "etcdcompute":
            inner = name.removeprefix("etcdcompute.")
            own_name = inner == "__version__"
            assert own_name or any(below(inner, package) for package in allowed), f"{module} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    module = module_name(path)
    for name in imports(path):
        for library, homes in CONFINED.items():
            if below(name, library):
                assert any(below(module, home) for home in homes), f"{module} imports {library}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_becomes_a_drawer(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
    assert path.stem not in {"utils", "helpers", "misc", "common"}
