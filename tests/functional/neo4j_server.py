"""Real Neo4j servers for tests: the one that the role installs, on free loopback ports, to start, kill and freeze."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, Neo4jError, ServiceUnavailable

from tests.functional.frozen import freeze
from tests.functional.ports import free_ports

PROJECT = Path(__file__).parents[2]
VERSION = "5.26.30"
PASSWORD = "a-password/of:the@tests"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
_OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
# Tests are over before the optimizing compiler pays: the first one alone halves what a server costs them.
QUICK = ("-XX:TieredStopAtLevel=1",)
_SETTINGS = {
    "server.default_listen_address": "127.0.0.1",
    "server.http.enabled": "false",
    # A frozen server is noticed after two of these.
    "server.bolt.connection_keep_alive": "2s",
    "server.bolt.connection_keep_alive_streaming_scheduling_interval": "1s",
    # Tests empty and fill small graphs: to plan again whenever the counts are others costs more than it gains.
    "dbms.cypher.min_replan_interval": "1h",
    "server.memory.heap.initial_size": "512m",
    "server.memory.heap.max_size": "2g",
    "server.memory.pagecache.size": "256m",
    "dbms.usage_report.enabled": "false",
    "dbms.security.allow_csv_import_from_file_urls": "false",
    "internal.dbms.cypher_ip_blocklist": "0.0.0.0/0,::/0",
    "db.tx_log.rotation.retention_policy": "keep_none",
    "db.tx_log.preallocate": "false",
}


@cache
def fetched_jars() -> Path:
    """Return the folder of the server's jars, fetched if need be."""
    command = [sys.executable, str(PROJECT / "roles" / "neo4j" / "files" / "fetch_neo4j.py")]
    command += ["--version", VERSION, "--cache", str(PROJECT / ".cache" / "neo4j")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(done.stdout)["lib"])


class Neo4jServer:
    """One server. Its data lies below `directory` and outlives restarts; `settings` are more of Neo4j's own.

    `jvm` are options of Java's: where it is measured, none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        jvm: Sequence[str] = QUICK,
    ) -> None:
        self.directory = directory
        self.port = port or free_ports(1)[0]
        self.password = PASSWORD
        self.url = f"neo4j://neo4j:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"
        self.log_file = directory / "console.log"
        self._settings = {**_SETTINGS, **(settings or {}), "server.bolt.listen_address": f"127.0.0.1:{self.port}"}
        self._jvm = tuple(jvm)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the process, with the data of the last run if there are any, and wait until it answers."""
        assert not self.running, "Neo4j is running already"
        command, environment = self.prepare()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        if wait:
            self.wait_healthy()
        return self

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        """Write the settings, and the password if there is none yet; return the command to run and its environment."""
        conf = self.directory / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        (conf / "neo4j.conf").write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        environment = {**os.environ, "NEO4J_HOME": str(self.directory), "NEO4J_CONF": str(conf)}
        if not (self.directory / "data" / "dbms").exists():
            admin = ["java", "-cp", f"{fetched_jars()}/*", "org.neo4j.cli.AdminTool"]
            set_password = [*admin, "dbms", "set-initial-password", self.password]
            subprocess.run(set_password, env=environment, check=True, stdout=subprocess.DEVNULL)
        heap = self._settings["server.memory.heap.initial_size"], self._settings["server.memory.heap.max_size"]
        command = ["java", f"-Xms{heap[0]}", f"-Xmx{heap[1]}", "-XX:+UseG1GC", *self._jvm]
        command += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        command += ["-cp", f"{fetched_jars()}/*", "org.neo4j.server.CommunityEntryPoint"]
        return [*command, f"--home-dir={self.directory}", f"--config-dir={conf}"], environment

    def wait_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the server answers a query."""
        until = time.monotonic() + timeout_s
        while True:
            assert self.running, f"Neo4j ended: {self.log_tail()}"
            try:
                with (
                    GraphDatabase.driver(f"bolt://127.0.0.1:{self.port}", auth=("neo4j", self.password)) as driver,
                    driver.session() as session,
                ):
                    session.run("RETURN 1").consume()
            except (ServiceUnavailable, OSError, AuthError, Neo4jError) as error:
                seen = error
            else:
                return
            assert time.monotonic() < until, f"Neo4j is not healthy: {seen} {self.log_tail()}"
            time.sleep(0.2)

    def run(self, cypher: str, **parameters: object) -> list[dict[str, object]]:
        """Run a statement as the administrator and return its rows."""
        with GraphDatabase.driver(f"bolt://127.0.0.1:{self.port}", auth=("neo4j", self.password)) as driver:
            return [row.data() for row in driver.execute_query(cypher, parameters_=dict(parameters)).records]

    def empty(self) -> None:
        """Remove what placement's graph holds; its schema and its clock stay."""
        self.run("MATCH (n) WHERE NOT n:PlacementHead AND NOT n:PlacementChange DETACH DELETE n")

    def stop(self) -> None:
        """End the process as an init system would: SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process where it is: it answers nothing, and its connections stay."""
        assert self._process is not None
        freeze(self._process.pid)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT_S)
        self._process = None

    def log_tail(self) -> str:
        """Return the last of what the server said."""
        return self.log_file.read_text()[-3000:] if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()
