"""An instance to test with."""

from typing import Any

from etcdcompute.model import ImageSource, Instance, NetworkAttachment

UUID = "11111111-2222-3333-4444-555555555555"
HOST = "99999999-2222-3333-4444-555555555555"


def make_instance(**fields: Any) -> Instance:
    """Return an instance with these fields."""
    wanted: dict[str, Any] = {
        "uuid": UUID,
        "name": "web1",
        "image": ImageSource(url="/srv/guest.img", sha256="0" * 64, format="raw"),
        "resources": {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1},
        "networks": (NetworkAttachment(network="default"), NetworkAttachment(bridge="br0")),
        "created_at": "2026-01-31T09:05:00.123Z",
    }
    return Instance(**{**wanted, **fields})
