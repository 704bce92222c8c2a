"""The placement service as the configuration describes it."""

import threading

from etcdcompute.config import Settings
from etcdcompute.kv.connect import connect
from etcdcompute.placement.serve import serve
from etcdcompute.systemd import notify_ready


def run_placement(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop`; the graph is in the section etcd's cluster where `placement.graph` is empty."""
    placement = settings.placement
    serve(
        graph=placement.graph,
        listen=placement.listen,
        auth=placement.auth,
        token=placement.token,
        policy=placement.policy,
        cors_origins=placement.cors_origins,
        stop=stop,
        connect=lambda: connect(settings.etcd),
        ready=_ready,
    )


def _ready(host: str, port: int) -> None:
    notify_ready(f"serving placement on {host}:{port}")
