"""What the three daemons have in common when they start and stop."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

from etcdcompute import __version__
from etcdcompute.config import Settings
from etcdcompute.systemd import notify_stopping

_LOG = logging.getLogger(__name__)

Run = Callable[[Settings, threading.Event], None]

# No signal has the number 0.
_ENDED = b"\0"


def run_daemon(name: str, settings: Settings, run: Run) -> None:
    """Run a daemon until SIGTERM or SIGINT asks it to stop; it then finishes what it is at and returns.

    The daemon has a thread of its own and the main thread does nothing but wait: a signal's handler runs in the main
    thread between any two instructions, and would wait for ever for a lock that the interrupted code holds. It waits
    for a byte, not for the thread: a signal that comes just before a lock is waited for would not be noticed, whereas
    the interpreter writes a byte for each signal at whatever moment it comes.
    """
    configure_logging(settings.log.level)
    stop = threading.Event()
    failures: list[BaseException] = []
    asked = False

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            return
        asked = True
        stop.set()
        _LOG.info("%s: stopping on %s", name, signal.Signals(number).name)
        notify_stopping()

    def work() -> None:
        try:
            run(settings, stop)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failures.append(error)
        finally:
            wake.send(_ENDED)

    waker, wake = socket.socketpair()
    with waker, wake:
        wake.setblocking(False)
        before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        before_fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            _LOG.info("%s %s starts", name, __version__)
            worker = threading.Thread(target=work, name=name)
            worker.start()
            while waker.recv(1) != _ENDED:
                pass  # a signal, which has been handled by now
            worker.join()
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
    if failures:
        raise failures[0]
    _LOG.info("%s has stopped", name)


def configure_logging(level: str) -> None:
    """Log to standard error; systemd's journal adds the time, so it is left out where the journal listens."""
    moment = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format=f"{moment}%(levelname)s %(name)s: %(message)s", force=True
    )
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # A line per connection at debug and per retry at warning: what matters of it we log ourselves.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
