"""A terminal on a machine's serial console: `python3 lab/console.py SOCKET`. Ctrl-] leaves it; the node goes on."""

import contextlib
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

LEAVE = b"\x1d"


def main(path: str) -> int:
    """Connect the terminal (or standard input) with the console until either ends."""
    place = Path(path)
    # A socket's path has at most 108 bytes: from within its folder it is short.
    os.chdir(place.parent)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(place.name)
        except OSError as error:
            print(f"error: no console at {path} ({error.strerror}): does the node run?", file=sys.stderr)
            return 1
        print("the node's console; Ctrl-] leaves it, Enter asks for a prompt\r", file=sys.stderr)
        with _raw(sys.stdin.fileno()):
            _pump(connection)
    return 0


def _pump(connection: socket.socket) -> None:
    sources = [connection.fileno(), sys.stdin.fileno()]
    while True:
        for ready in select.select(sources, [], [])[0]:
            data = os.read(ready, 65536)
            if ready == connection.fileno():
                if not data:
                    return
                os.write(sys.stdout.fileno(), data)
            elif not data or LEAVE in data:
                return
            else:
                connection.sendall(data)


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Hand every key to the console as it is, Ctrl-C included."""
    if not os.isatty(terminal):
        yield
        return
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
