"""Wait until an instance of a lab answers on SSH, and say which name it gives: `python -m tests.lab.answers`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from etcdcompute import operations
from tests.lab.cloud import Cloud, Waited, wait_for


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", required=True)
    parser.add_argument("--instance", default="vm1")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds")
    options = parser.parse_args()
    began = time.monotonic()
    # A socket's path is short, so not below a long folder of the user's.
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as control:
        cloud = Cloud(options.lab, Path(control))
        try:
            name = wait_for(
                f"{options.instance} to answer", lambda: _name(cloud, options.instance), options.timeout, 2.0
            )
        except Waited as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            cloud.close()
    print(f"the guest answers on SSH and calls itself {name}, after {time.monotonic() - began:.0f} s more")
    return 0 if name == options.instance else 1


def _name(cloud: Cloud, instance: str) -> str:
    """Return the name that the guest gives itself, "" while it doesn't answer."""
    status = operations.find_instance(cloud.kv, instance).status
    if status is None or not status.addresses:
        return ""
    return cloud.nodes[status.host].run_in_guest(status.addresses[0].ip, "hostname").stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
