"""Runs tasks by the real ansible-playbook and returns their results."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PLAY_TIMEOUT_S = 120.0

Task = Mapping[str, Any]
Result = dict[str, Any]


class Playbooks:
    """Runs plays on localhost with the checkout's collection; `environment` is what the modules inherit."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        # Neither the checkout's configuration nor that of whoever runs the tests.
        (directory / "ansible.cfg").write_text("")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCDCOMPUTE_")}
        self.environment |= {
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(directory / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_PIPELINING": "true",  # a third of the time
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            **environment,
        }

    def run(self, *tasks: Task, check: bool = False, **play: Any) -> list[Result]:
        """Run the tasks (a module's full or short name -> its arguments) and return a result for each."""
        return self.start(*tasks, check=check, **play).results()

    def start(self, *tasks: Task, check: bool = False, **play: Any) -> "Running":
        """Start the tasks in the background."""
        directory = self.directory / f"play-{uuid.uuid4()}"
        directory.mkdir(parents=True)
        steps = [_step(task, index) for index, task in enumerate(tasks)]
        results = "[" + ", ".join(f"result{index}" for index in range(len(tasks))) + "]"
        save = {
            "ansible.builtin.copy": {
                "content": "{{ " + results + " | to_json }}",
                "dest": str(directory / "results.json"),
                "mode": "0600",
            },
            "check_mode": False,
            "diff": False,
        }
        content = [
            {
                "hosts": "localhost",
                "gather_facts": False,
                "vars": {"ansible_python_interpreter": sys.executable},
                "tasks": [*steps, save],
                **play,
            }
        ]
        path = directory / "play.yml"
        path.write_text(json.dumps(content))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "--diff", "-vvv", str(path)]
        process = subprocess.Popen(
            [*command, "--check"] if check else command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Running(process, directory / "results.json")


class Running:
    """A playbook that has been started."""

    def __init__(self, process: subprocess.Popen[str], results: Path) -> None:
        self.process = process
        self.output = ""
        self._results = results

    @property
    def finished(self) -> bool:
        """Whether the playbook has ended."""
        return self.process.poll() is not None

    def results(self) -> list[Result]:
        """Wait for the end and return the tasks' results; a failed task is one too."""
        try:
            self.output = self.process.communicate(timeout=PLAY_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.output = self.process.communicate()[0]
            raise AssertionError(f"the playbook did not end: {self.output[-3000:]}") from None
        assert "Traceback" not in self.output, self.output[-3000:]
        assert self._results.exists(), self.output[-3000:]
        results: list[Result] = json.loads(self._results.read_text())
        return results

    def result(self) -> Result:
        """Return the only task's result."""
        (only,) = self.results()
        return only


def _step(task: Task, index: int) -> dict[str, Any]:
    step: dict[str, Any] = {"register": f"result{index}", "ignore_errors": True}
    for name, value in task.items():
        is_ours = name in ("instance", "instance_info", "resource_provider", "resource_provider_info")
        step[f"etcdcompute.cloud.{name}" if is_ours else name] = value
    return step


def failed(results: Sequence[Result]) -> list[str]:
    """Return the messages of the tasks that failed."""
    return [str(each.get("msg")) for each in results if each.get("failed")]
