"""OpenStack's placement as it is run in earnest: uwsgi with several processes, and MariaDB, synced to the disk.

Both are programs of this machine (Debian's MariaDB, PyPI's uwsgi and openstack-placement) with data, sockets and
settings in the bench's own folder: nothing of the machine's services is used or changed.
"""

import configparser
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.servers import Server, environment_without
from bench.sides import Service, answers
from bench.wire import Address, BenchError
from tests.functional.ports import free_ports

PROCESSES = 4
THREADS = 8

_BUFFER_POOL_MIB = 1024
_LOG_FILE_MIB = 512
_PREPARE_TIMEOUT_S = 120.0


class OpenStack:
    """OpenStack's placement with its database."""

    name = "openstack"
    bulk = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        # Debian's mariadbd is where only root looks for programs.
        path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin"
        self._environment = {**environment_without("OS_", "UWSGI_", "MYSQL"), "PATH": path}
        for program in ("uwsgi", "placement-manage"):
            if not _beside(program).exists():
                raise BenchError(f"OpenStack's side needs {program}: make bench, or leave it out with PEER=no")

    @contextmanager
    def fresh(self) -> Iterator[Service]:
        """Start a MariaDB on an empty directory, and placement over it."""
        self._started += 1
        folder = self._folder / f"openstack{self._started}"
        folder.mkdir()
        socket = folder / "sql"
        command = self._prepare_database(folder, socket)
        with Server("mariadb", command, folder, environment=self._environment) as database:
            database.await_ready(lambda: self._database_answers(socket))
            self._run(*_sql(socket, "CREATE DATABASE placement"))
            environment = {**self._environment, "OS_PLACEMENT_CONFIG_DIR": str(folder)}
            settings = _write_settings(folder, socket)
            self._run(_beside("placement-manage"), "--config-file", settings, "db", "sync")
            (port,) = free_ports(1)
            address = Address("127.0.0.1", port, keeps_alive=False)
            with Server("uwsgi", _uwsgi(port), folder, environment=environment) as server:
                server.await_ready(lambda: answers(address, "/"))
                yield Service(server, address)

    def memory_mb(self, service: Service) -> float:
        """Return the memory of the largest process; there are several of the same kind."""
        return max(service.server.resident_mb())

    def _prepare_database(self, folder: Path, socket: Path) -> Sequence[str]:
        """Make the database's own tables, and return the command that serves them."""
        data = folder / "mariadb"
        # As root it wants to be told that it is meant to be; nobody else gets into the bench's folder.
        user = ("--user=root",) if os.getuid() == 0 else ()
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *user,
        )
        return (
            "mariadbd",
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={socket}",
            f"--pid-file={folder / 'mariadb.pid'}",
            "--skip-networking",
            "--skip-log-bin",
            f"--innodb-buffer-pool-size={_BUFFER_POOL_MIB}M",
            f"--innodb-log-file-size={_LOG_FILE_MIB}M",
            "--innodb-flush-log-at-trx-commit=1",
            f"--max-connections={4 * PROCESSES * THREADS}",
            "--character-set-server=utf8mb4",
            *user,
        )

    def _database_answers(self, socket: Path) -> bool:
        command = _sql(socket, "SELECT 1")
        return subprocess.run(command, capture_output=True, check=False, env=self._environment).returncode == 0

    def _run(self, *command: str | Path) -> None:
        """Run a program to its end."""
        name = Path(command[0]).name
        try:
            done = subprocess.run(
                [str(each) for each in command],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_PREPARE_TIMEOUT_S,
                check=False,
                env=self._environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"{name} cannot be run: {error}") from error
        if done.returncode:
            output = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
            raise BenchError(f"{name} ended with status {done.returncode}: {output}")


def _write_settings(folder: Path, socket: Path) -> Path:
    """Write placement's settings and those of its log, which are warnings only; return the path of the former."""
    log = folder / "logging.ini"
    log.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=stderr\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=WARNING\nhandlers=stderr\n"
        "[handler_stderr]\nclass=StreamHandler\nargs=(sys.stderr,)\n"
    )
    settings = configparser.RawConfigParser()
    settings["DEFAULT"] = {"log_config_append": str(log)}
    settings["api"] = {"auth_strategy": "noauth2"}
    settings["placement_database"] = {
        "connection": f"mysql+pymysql://root@localhost/placement?unix_socket={socket}&charset=utf8mb4",
        "max_pool_size": str(THREADS),
    }
    path = folder / "placement.conf"
    with path.open("w") as file:
        settings.write(file)
    return path


def _sql(socket: Path, statement: str) -> Sequence[str]:
    return "mariadb", "--no-defaults", f"--socket={socket}", "--user=root", f"--execute={statement}"


def _uwsgi(port: int) -> Sequence[str]:
    return (
        str(_beside("uwsgi")),
        f"--http-socket=127.0.0.1:{port}",
        "--module=placement.wsgi.api:application",
        "--master",
        f"--processes={PROCESSES}",
        f"--threads={THREADS}",
        "--enable-threads",
        "--thunder-lock",
        "--lazy-apps",
        "--need-app",
        "--no-orphans",
        "--disable-logging",
        f"--virtualenv={sys.prefix}",
    )


def _beside(program: str) -> Path:
    """Return a program of the virtual environment's, whether or not that is activated."""
    return Path(sys.executable).with_name(program)
