"""The collection as a user gets it: built, installed elsewhere, and complete."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
SIZE_LIMIT_KIB = 400


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifact")
    command = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(directory), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=directory)
    (built,) = directory.glob("etcdcompute-cloud-*.tar.gz")
    return built


def staged_parts() -> set[str]:
    """Return what tools/sanity tests: it must be what is shipped."""
    path = str(ROOT / "tools" / "sanity")
    loader = importlib.machinery.SourceFileLoader("sanity_tool", path)
    spec = importlib.util.spec_from_loader("sanity_tool", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return set(module.PARTS)


def test_the_artifact_is_small_and_holds_the_collection_alone(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = {each.name for each in archive.getmembers() if each.isfile()}
    top = {name.split("/")[0] for name in names}
    assert top - {"MANIFEST.json", "FILES.json"} == staged_parts() - {"galaxy.yml"}
    assert {f"plugins/modules/{name}.py" for name in MODULES} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".orig"))]
    assert artifact.stat().st_size < SIZE_LIMIT_KIB * 1024


def test_an_installed_collection_documents_and_runs_its_modules(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("")
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        program = str(BIN / command[0])
        return subprocess.run(
            [program, *command[1:]], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    target = str(tmp_path / "installed")
    installed = run("ansible-galaxy", "collection", "install", "--offline", "-p", target, str(artifact))
    assert installed.returncode == 0, installed.stderr
    documented = run("ansible-doc", "--json", *(f"etcdcompute.cloud.{name}" for name in MODULES))
    assert documented.returncode == 0, documented.stderr
    for name, entry in json.loads(documented.stdout).items():
        assert entry["doc"]["description"], name
        assert entry["examples"], name
        assert entry["return"], name
        assert entry["doc"]["attributes"]["check_mode"]["support"] == "full", name
    nowhere = '{"etcd_endpoints": ["http://127.0.0.1:9"], "etcd_request_timeout": 1}'
    ran = run(
        "ansible",
        "localhost",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "-m",
        "etcdcompute.cloud.instance_info",
        "-a",
        nowhere,
    )
    assert "etcd cannot be reached (http://127.0.0.1:9: " in ran.stdout
