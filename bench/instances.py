"""How long a create takes beyond libvirt's own time, and how much memory the daemons need; on a running lab.

    make lab && make bench-instances

For every round an instance is put into etcd and the clock stops when its status says running (the image is in the
host's cache). Beside it, on the same host and in the same round, libvirt alone defines and starts the same domain: the
instance's own XML with another name, uuid and disk. What lies between the two is ours.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from tests.lab.cloud import DAEMONS, PROJECT, Cloud, Node
from tests.lab.instances import Instances

FLOOR_S = 0.5
MEMORY_FLOOR_MIB = 100

# Runs on the node with the distribution's python3-libvirt; prints the seconds that define and create took.
LIBVIRT_ALONE = """
import json, os, shutil, sys, time, uuid, xml.etree.ElementTree as ET
import libvirt
connection = libvirt.open("qemu:///system")
original = connection.lookupByUUIDString(sys.argv[1])
root = ET.fromstring(original.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
root.find("name").text = "bench-libvirt-alone"
root.find("uuid").text = str(uuid.uuid4())
folder = "/var/lib/libvirt/images/bench"
os.makedirs(folder, exist_ok=True)
for disk in root.iter("disk"):
    source = disk.find("source")
    if source is not None and disk.get("device") == "disk":
        copy = os.path.join(folder, os.path.basename(source.get("file")))
        shutil.copyfile(source.get("file"), copy)
        source.set("file", copy)
for mac in list(root.iter("mac")):
    mac.set("address", "52:54:00:be:ac:01")
for log in root.iter("log"):
    log.set("file", os.path.join(folder, "console.log"))
text = ET.tostring(root, encoding="unicode")
started = time.monotonic()
domain = connection.defineXML(text)
domain.create()
seconds = time.monotonic() - started
domain.destroy()
domain.undefine()
shutil.rmtree(folder)
print(json.dumps(seconds))
"""


def measure_round(instances: Instances) -> tuple[float, float]:
    """Return (seconds from putting the spec to the status running, seconds libvirt alone takes)."""
    started = time.monotonic()
    instance = instances.create()
    instances.await_settled(instance)
    total_s = time.monotonic() - started
    node = instances.node(instance)
    alone_s = json.loads(node.run(f"python3 - {instance.uuid} <<'END'\n{LIBVIRT_ALONE}\nEND"))
    instances.delete(instance)
    instances.await_gone(instance)
    return total_s, alone_s


def resident_mib(node: Node, pid: int) -> float:
    """Return a process' resident memory in MiB."""
    return int(node.run(f"awk '/^VmRSS:/ {{print $2}}' /proc/{pid}/status")) / 1024


def report_latency(cloud: Cloud, rounds: int) -> None:
    """Measure and print the create latency."""
    image = PROJECT / ".cache" / "guest" / "etcdcompute-guest.qcow2"
    digest = Path(f"{image}.sha256").read_text().split()[0]
    instances = Instances(cloud, {"url": f"/srv/images/{image.name}", "sha256": digest})
    try:
        # Once per host, so that the image is cached on each.
        for instance in [instances.create() for _ in range(2 * len(cloud.computes))]:
            instances.await_settled(instance)
        instances.delete_all()
        measured = []
        for number in range(1, rounds + 1):
            measured.append(measure_round(instances))
            total_s, alone_s = measured[-1]
            print(f"round {number} of {rounds}: {total_s:.3f} s, libvirt alone {alone_s:.3f} s", file=sys.stderr)
    finally:
        instances.delete_all()
    totals, alone = [each[0] for each in measured], [each[1] for each in measured]
    ours = [total_s - alone_s for total_s, alone_s in measured]
    rows = [
        ("spec put to domain running", statistics.median(totals), min(totals), max(totals), ""),
        ("libvirt alone: define and start", statistics.median(alone), min(alone), max(alone), ""),
        ("beyond libvirt", statistics.median(ours), min(ours), max(ours), f"{FLOOR_S} at most"),
    ]
    print(tabulate(rows, headers=["create, image cached", "median s", "least s", "most s", "floor"], floatfmt=".3f"))


def report_memory(cloud: Cloud) -> None:
    """Measure and print the daemons' memory."""
    pids = [(daemon, node, cloud.daemon_pid(node, daemon)) for node in cloud.nodes.values() for daemon in DAEMONS]
    floor = f"below {MEMORY_FLOOR_MIB}"
    rows = [(daemon, node.name, resident_mib(node, pid), floor) for daemon, node, pid in pids if pid]
    print(tabulate(rows, headers=["daemon", "node", "resident MiB", "floor"], floatfmt=".1f"))


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(prog="make bench-instances", description=__doc__)
    parser.add_argument("--lab", default="lab", help="name of a lab that is up")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    if not (PROJECT / ".lab" / arguments.lab / "inventory.yml").exists():
        sys.exit(f"there is no lab {arguments.lab!r}: make lab first")
    with tempfile.TemporaryDirectory(prefix="ssh-") as control:
        cloud = Cloud(arguments.lab, Path(control))
        try:
            report_latency(cloud, arguments.rounds)
            print()
            report_memory(cloud)
        finally:
            cloud.close()


if __name__ == "__main__":
    main()
