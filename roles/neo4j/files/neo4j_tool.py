"""Ask the Neo4j server of this host: is it ready, change its password, run a statement, watch over it.

Runs on the host with its Python alone: the vendor's cypher-shell is not among Maven Central's artifacts, and a driver
is not among the distribution's packages. It speaks the little of the Bolt protocol (5.1 to 5.4) that this needs. Where
the server is and what its password is, it reads from the server's own folder of settings.
"""

import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/neo4j/neo4j.conf")
PASSWORD = Path("/etc/neo4j/password")
UNIT = "neo4j.service"
# Magic, then four proposals: 5.4 and the three below it, nothing else.
GREETING = b"\x60\x60\xb0\x17" + b"\x00\x03\x04\x05" + bytes(12)
HELLO, LOGON, RUN, PULL = 0x01, 0x6A, 0x10, 0x3F
SUCCESS, RECORD = 0x70, 0x71
ANSWER_S = 10.0
# How often the watch asks, and after how many bad answers in a row it ends the server; a silent one gets longer.
INTERVAL_S = 10.0
PATIENCE, MOST_PATIENCE, SILENT_FACTOR = 3, 30, 4
# Less than that, and a server that starts would be out of room again at once.
ROOM_MIB = 128


class Away(Exception):
    """Nobody answers."""


class Silent(Away):
    """The server accepts a connection, or is about to, and says nothing."""


class Refused(Exception):
    """The server answers, and does not do what it was asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message.split("\n")[0].rstrip("."))
        self.code = code

    @property
    def is_password(self) -> bool:
        """Whether the password is another one."""
        return self.code == "Neo.ClientError.Security.Unauthorized"

    @property
    def is_rate_limit(self) -> bool:
        """Whether there were too many wrong passwords; also the right one is refused for some seconds then."""
        return self.code == "Neo.ClientError.Security.AuthenticationRateLimit"


# -- the protocol ----------------------------------------------------------------------------------------------------


def pack(value: object) -> bytes:
    """Return a value as PackStream: None, bool, int, str, list or dict."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack(">b", value) if -16 <= value <= 127 else b"\xcb" + struct.pack(">q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xd2" + struct.pack(">I", len(data)) + data
    if isinstance(value, list):
        return b"\xd6" + struct.pack(">I", len(value)) + b"".join(pack(each) for each in value)
    if isinstance(value, dict):
        pairs = b"".join(pack(key) + pack(each) for key, each in value.items())
        return b"\xda" + struct.pack(">I", len(value)) + pairs
    raise TypeError(f"{type(value).__name__} is not needed here")


# What a marker says: a constant, the format of a number, what comes and the format of its size.
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {0xC1: ">d", 0xC8: ">b", 0xC9: ">h", 0xCA: ">i", 0xCB: ">q"}
KINDS = {0xCC: "bytes", 0xD0: "text", 0xD4: "list", 0xD8: "map"}
SIZED = {first + more: (kind, form) for first, kind in KINDS.items() for more, form in enumerate((">B", ">H", ">I"))}
TINY = {0x8: "text", 0x9: "list", 0xA: "map", 0xB: "structure"}


class Unpacker:
    """Reads PackStream; a structure (a node, a date) becomes the list of its fields."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, form: str) -> Any:
        """Return the next number of a given form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self) -> Any:
        """Return the next value."""
        marker = self.number(">B")
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker in NUMBERS:
            return self.number(NUMBERS[marker])
        if marker in SIZED:
            what, form = SIZED[marker]
            return self.sized(what, self.number(form))
        if marker >> 4 in TINY:
            return self.sized(TINY[marker >> 4], marker & 0xF)
        return marker if marker < 0x80 else marker - 0x100

    def sized(self, what: str, size: int) -> Any:
        """Return the next value of a kind that says how long it is."""
        if what == "text":
            return self.take(size).decode()
        if what == "bytes":
            return self.take(size).hex()
        if what == "map":
            return {self.value(): self.value() for each in range(size)}
        if what == "structure":
            self.take(1)
        return [self.value() for each in range(size)]


class Connection:
    """One connection with its session, for a few statements one after the other."""

    def __init__(self, address: str, password: str, timeout_s: float = ANSWER_S) -> None:
        host, port = address.rsplit(":", 1)
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        except TimeoutError:
            raise Silent(f"{address} does not answer") from None
        except OSError as error:
            raise Away(f"nothing listens at {address}: {error}") from None
        self._address = address
        try:
            self._greet()
            self._ask(HELLO, {"user_agent": "neo4j-tool/1", "bolt_agent": {"product": "neo4j-tool/1"}})
            self._ask(LOGON, {"scheme": "basic", "principal": "neo4j", "credentials": password})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def run(self, statement: str, parameters: dict[str, Any], database: str = "neo4j") -> list[dict[str, Any]]:
        """Run a statement; return its rows as mappings."""
        head = self._ask(RUN, statement, parameters, {"db": database})[1]
        rows = self._ask(PULL, {"n": -1})[0]
        return [dict(zip(head["fields"], row, strict=True)) for row in rows]

    def _greet(self) -> None:
        self._send(GREETING)
        if self._receive(4)[3] != 5:
            raise Refused("", f"{self._address} does not speak Bolt 5.1 to 5.4")

    def _ask(self, tag: int, *fields: object) -> tuple[list[Any], dict[str, Any]]:
        """Send a message; return the records that come before the summary, and the summary."""
        message = bytes([0xB0 + len(fields), tag]) + b"".join(pack(field) for field in fields)
        chunks = [message[at : at + 0xFFFF] for at in range(0, len(message), 0xFFFF)]
        self._send(b"".join(struct.pack(">H", len(chunk)) + chunk for chunk in chunks) + b"\x00\x00")
        records = []
        while True:
            data = self._message()
            tag, content = data[1], Unpacker(data).value()[0]
            if tag != RECORD:
                break
            records.append(content)
        if tag != SUCCESS:
            raise Refused(content.get("code", ""), content.get("message", "no reason given"))
        return records, content

    def _message(self) -> bytes:
        data = b""
        while True:
            (size,) = struct.unpack(">H", self._receive(2))
            if size:
                data += self._receive(size)
            elif data:
                return data

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Away(f"{self._address} hung up: {error}") from None

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self._socket.recv(size - len(data))
            except TimeoutError:
                raise Silent(f"{self._address} does not answer") from None
            except OSError as error:
                raise Away(f"{self._address} hung up: {error}") from None
            if not more:
                raise Away(f"{self._address} hung up")
            data += more
        return data


# -- what it is asked ------------------------------------------------------------------------------------------------


def setting(name: str) -> str:
    """Return a setting of the server."""
    for line in SETTINGS.read_text(encoding="utf-8").splitlines():
        found, value = (*line.split("=", 1), "")[:2]
        if found == name:
            return value
    raise Refused("", f"{SETTINGS} has no {name}")


def connect(password: str) -> Connection:
    """Return a connection to the server of this host."""
    return Connection(setting("server.bolt.listen_address"), password)


def known_password() -> str:
    """Return the password that the server had last."""
    return PASSWORD.read_text(encoding="utf-8").rstrip("\n")


def ask_ready(password: str) -> None:
    """Return if the database takes statements: a server may well answer whose database does not."""
    with connect(password) as connection:
        connection.run("RETURN 1", {})


def await_ready(timeout_s: float) -> None:
    """Wait until the database takes statements; a wrong password does not get better by waiting."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return ask_ready(known_password())
        except Refused as error:
            if error.is_password:
                raise Refused(error.code, f"what {PASSWORD} holds is not the server's password") from None
            if time.monotonic() > until:
                raise
        except Away:
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def accepts(password: str, until: float) -> bool:
    """Tell whether the password is the server's; waits for a server that starts or has had too many wrong ones."""
    while True:
        try:
            connect(password).close()
        except Refused as error:
            if error.is_password:
                return False
            if not error.is_rate_limit or time.monotonic() > until:
                raise
        except Away:
            if time.monotonic() > until:
                raise
        else:
            return True
        time.sleep(1)


def change_password(new: str, timeout_s: float) -> bool:
    """Make this the server's password; tell whether it was another one."""
    until = time.monotonic() + timeout_s
    if accepts(new, until):
        return False
    old = known_password()
    if old == new or not accepts(old, until):
        raise Refused(
            "",
            f"neither the password that is asked for nor the one in {PASSWORD} is the server's: somebody else changed "
            f"it. Write the one that it has into {PASSWORD} on this host, or set neo4j_password to it; then run this "
            "again",
        )
    with connect(old) as connection:
        connection.run("ALTER CURRENT USER SET PASSWORD FROM $old TO $new", {"old": old, "new": new}, "system")
    return True


class Watch:
    """Asks for ever; ends a server whose database is broken, for systemd to start it again.

    When its disk fills, the server stays up, and so it does when it is started on a full one. Both times it answers
    that its database is not available, also when there is room again. SIGTERM does not end it: it tries to write.
    """

    def __init__(self) -> None:
        self._bad = 0
        self._patience = PATIENCE
        self._said = ""

    def run(self) -> None:
        """Ask for ever."""
        while True:
            time.sleep(INTERVAL_S)
            self.look()

    def look(self) -> None:
        """Ask once; act after enough bad answers in a row."""
        reason, factor = diagnose()
        if not reason:
            self._bad, self._said = 0, ""
            self._patience = PATIENCE if factor else self._patience
            return
        self._bad += 1
        if self._bad < self._patience * factor:
            return
        room = room_mib()
        if room >= ROOM_MIB:
            self._say(f"its database does not work, so the server is started again: {reason}")
            end_server()
            self._bad, self._patience = 0, min(self._patience * 2, MOST_PATIENCE)
        else:
            self._say(f"its database does not work, and there are less than {ROOM_MIB} MiB for data: {reason}")

    def _say(self, what: str) -> None:
        """Say it once: it may last."""
        if what != self._said:
            print(what, flush=True)
        self._said = what


def diagnose() -> tuple[str, int]:
    """Return what is wrong ("": nothing), and how much of the patience that deserves (0: there is nobody to ask)."""
    try:
        ask_ready(known_password())
    except Silent as error:
        return str(error), SILENT_FACTOR
    except Refused as error:
        works = error.is_password or error.is_rate_limit
        return ("" if works else f"{error} ({error.code})"), 1
    except (Away, OSError):
        return "", 0  # it starts or stops, which is systemd's business
    return "", 1


def room_mib() -> int:
    """Return how much room there is for data."""
    state = os.statvfs(setting("server.directories.data"))
    return state.f_bavail * state.f_frsize >> 20


def end_server() -> None:
    """End the server's process as a power cut would; it recovers from its log."""
    command = ["systemctl", "show", "--property=MainPID", "--value", UNIT]
    pid = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if pid:
        os.kill(pid, signal.SIGKILL)


def main() -> int:
    """Read the arguments, do it, say in one sentence what was in the way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    waiting = commands.add_parser("await", help="wait until the database takes statements")
    waiting.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    changing = commands.add_parser("password", help="give the server the password on standard input")
    changing.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    query = commands.add_parser("query", help="run a Cypher statement; prints a JSON object for each row")
    query.add_argument("statement")
    query.add_argument("parameters", nargs="?", default={}, type=json.loads, metavar="JSON")
    commands.add_parser("watch", help="start a server again whose database is broken (the unit neo4j-watch)")
    options = parser.parse_args()
    try:
        if options.command == "await":
            await_ready(options.timeout)
        elif options.command == "password":
            print("changed" if change_password(sys.stdin.read().rstrip("\n"), options.timeout) else "unchanged")
        elif options.command == "query":
            with connect(known_password()) as connection:
                for row in connection.run(options.statement, options.parameters):
                    print(json.dumps(row))
        else:
            Watch().run()
    except (Away, Refused, OSError) as error:
        print(f"neo4j-tool: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
