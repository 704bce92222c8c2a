"""Named points at which a test can kill or hold a daemon (after etcd's gofail).

Off unless the environment variable ETCDCOMPUTE_FAILPOINTS names a directory. A file `<directory>/<point>` arms a
point once: `kill` ends the process with SIGKILL there, as a power cut would; `hold` renames the file to
`<point>.held` and blocks until somebody removes that. Every step of a flow that changes the world outside has a
point *behind* it, so that tests can prove that the flow survives being cut there.
"""

import os
import signal
import time
from pathlib import Path

_DIRECTORY = os.environ.get("ETCDCOMPUTE_FAILPOINTS")


def failpoint(name: str) -> None:
    """Do what a test has armed at this point, or nothing."""
    if _DIRECTORY is None:
        return
    armed = Path(_DIRECTORY) / name
    try:
        action = armed.read_text().strip()
    except FileNotFoundError:
        return
    if action == "kill":
        armed.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    held = armed.rename(armed.with_name(f"{name}.held"))
    while held.exists():
        time.sleep(0.02)
