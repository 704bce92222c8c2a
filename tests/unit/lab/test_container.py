import shutil
import subprocess
from pathlib import Path

from lab.container import supervisor_script


def run_script(tmp_path: Path, *statuses: int) -> list[str]:
    """Run the supervisor over a command that ends with the given statuses in turn; return what it did each time."""
    command = tmp_path / "node"
    command.write_text(
        f'#!/bin/sh\necho started >>"{tmp_path}/log"\nset -- {" ".join(map(str, statuses))}\n'
        f'shift $(($(wc -l <"{tmp_path}/log") - 1))\nexit "$1"\n'
    )
    command.chmod(0o755)
    script = tmp_path / "run.sh"
    script.write_text(supervisor_script("etcdcompute-lab-000000-unit-test", [str(command)]))
    shell = shutil.which("sh")
    assert shell is not None
    subprocess.run([shell, str(script)], check=True, timeout=20)
    return (tmp_path / "log").read_text().split()


def test_a_node_that_reboots_is_started_again_until_it_powers_off(tmp_path: Path) -> None:
    assert run_script(tmp_path, 133, 133, 0) == ["started"] * 3


def test_a_node_that_fails_is_not_started_again(tmp_path: Path) -> None:
    assert run_script(tmp_path, 1) == ["started"]
