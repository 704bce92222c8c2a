"""A client from the configuration's section `etcd`."""

from pathlib import Path

from etcdcompute.config import EtcdSettings
from etcdcompute.kv.client import Client, Credentials, Tls


def connect(settings: EtcdSettings, *, request_timeout_s: float | None = None) -> Client:
    """Return a client of the configured etcd; nothing is sent yet. `request_timeout_s` only shortens the setting."""
    timeout_s = settings.request_timeout_s
    if request_timeout_s is not None:
        timeout_s = min(timeout_s, request_timeout_s)
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    return Client(
        settings.endpoints,
        credentials=Credentials(settings.username, settings.password) if settings.username else None,
        tls=Tls(*(Path(each) if each else None for each in files)) if any(files) else None,
        request_timeout_s=timeout_s,
    )
