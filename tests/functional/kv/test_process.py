"""What a client costs its process: memory, idle CPU, latency; and that it leaves quietly."""

import json
import subprocess
import sys
import textwrap
from typing import Any

from tests.functional.etcd_server import EtcdServer

MEASURE = """
    import json, resource, statistics, sys, threading, time
    from etcdcompute.kv.client import Client
    from etcdcompute.kv.records import PutEvent, Write

    def memory_mib():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    idle_s = 0.1 if "abrupt" in sys.argv else 3
    client = Client([sys.argv[1]])
    client.get("/t/a")
    seen = {}
    stop = threading.Event()
    ready = threading.Event()

    def watch():
        for event in client.watch("/t/", stop=stop):
            ready.set()
            if isinstance(event, PutEvent):
                seen[event.revision] = time.perf_counter()

    watcher = threading.Thread(target=watch)
    watcher.start()
    lease = client.lease(30, on_lost=lambda: None)
    ready.wait(10)
    commits, deliveries = [], []
    for number in range(200):
        started = time.perf_counter()
        done = client.commit([], [Write("/t/a", b"x" * 500)])
        commits.append((time.perf_counter() - started) * 1000)
        while done.revision not in seen:
            time.sleep(0.0002)
        deliveries.append((seen[done.revision] - started) * 1000)
    used = time.process_time()
    time.sleep(idle_s)
    report = {
        "memory_mib": memory_mib(),
        "idle_cpu_percent": (time.process_time() - used) / idle_s * 100,
        "commit_ms": statistics.median(commits),
        "delivery_ms": statistics.median(deliveries),
    }
    print(json.dumps(report))
    if "abrupt" not in sys.argv:
        stop.set()
        watcher.join()
        client.close()
    else:
        stop.set()
"""


def run(*arguments: str) -> tuple[dict[str, Any], str]:
    program = [sys.executable, "-c", textwrap.dedent(MEASURE), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report, done.stderr


def test_a_client_is_small_quick_and_idle(etcd: EtcdServer) -> None:
    report, noise = run(etcd.endpoint)
    print(report)
    assert noise == ""
    assert report["memory_mib"] < 80
    assert report["idle_cpu_percent"] < 3
    # Generous: the machine that runs this may be busy with other things.
    assert report["commit_ms"] < 100
    assert report["delivery_ms"] < 200


def test_a_process_that_ends_without_closing_is_quiet_too(etcd: EtcdServer) -> None:
    _, noise = run(etcd.endpoint, "abrupt")
    assert noise == ""
