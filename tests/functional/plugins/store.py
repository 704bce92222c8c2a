"""The store as scheduler and agent see it: they are played by the tests of the modules."""

import base64
import json
import time
from typing import Any

from etcdcompute.model import Address, Instance, InstanceStatus, Phase, keys
from etcdcompute.model.clock import timestamp
from tests.functional.etcd_server import EtcdServer, encoded

HOST = "0b0fa8ad-3e3d-4b5e-9d59-6f3c0a9fd0d4"
WAIT_S = 30.0


class Store:
    """Reads what clients wrote and writes what daemons would."""

    def __init__(self, etcd: EtcdServer) -> None:
        self.etcd = etcd

    def get(self, key: str) -> bytes | None:
        """Return a key's value."""
        items = self.etcd.post("/v3/kv/range", {"key": encoded(key)}).get("kvs", [])
        return base64.b64decode(items[0].get("value", "")) if items else None

    def count(self, prefix: str) -> int:
        """Return how many keys begin with the prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        body = {"key": encoded(prefix), "range_end": encoded(end), "count_only": True}
        return int(self.etcd.post("/v3/kv/range", body).get("count", 0))

    def instance(self, name: str) -> Instance | None:
        """Return the instance of this name, read as the daemons read it."""
        uuid = self.get(keys.instance_name(name))
        document = self.get(keys.instance(uuid.decode())) if uuid else None
        return Instance.from_json(document) if document else None

    def await_instance(self, name: str, generation: int = 1, *, other_than: str = "") -> Instance:
        """Wait until a client has written this generation of the instance."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            found = self.instance(name)
            if found is not None and found.generation >= generation and found.uuid != other_than:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no generation {generation} of {name} was written")

    def put_instance(self, name: str, uuid: str, **changes: Any) -> Instance:
        """Write an instance as a client would."""
        fields: dict[str, Any] = {
            "uuid": uuid,
            "name": name,
            "image": {"url": "/srv/images/guest.qcow2", "sha256": "0" * 64},
            "resources": {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1},
            "created_at": timestamp(),
        }
        instance = Instance.from_mapping(fields | changes)
        self.etcd.put(keys.instance(uuid), instance.to_json())
        self.etcd.put(keys.instance_name(name), uuid)
        return instance

    def report(self, instance: Instance, phase: Phase, *, address: str = "", **changes: Any) -> None:
        """Write a status as scheduler or agent would; with `host=True` it names one."""
        now = timestamp()
        fields: dict[str, Any] = {
            "uuid": instance.uuid,
            "phase": phase,
            "observed_generation": instance.generation,
            "phase_since": now,
            "updated_at": now,
        }
        if address:
            fields["addresses"] = (Address(mac="52:54:00:00:00:01", ip=address, network="default"),)
        if changes.pop("host", False):
            fields |= {"host": "etcd2", "host_uuid": HOST}
        status = InstanceStatus(**(fields | changes))
        self.etcd.put(keys.instance_status(instance.uuid), status.to_json())

    def remove(self, instance: Instance) -> None:
        """Remove all keys of an instance in one transaction, as the daemons do last."""
        names = (
            keys.instance(instance.uuid),
            keys.instance_name(instance.name),
            keys.instance_status(instance.uuid),
        )
        operations = [{"request_delete_range": {"key": encoded(name)}} for name in names]
        self.etcd.post("/v3/kv/txn", {"success": operations})

    def raw(self, key: str, value: object) -> None:
        """Write anything as JSON."""
        self.etcd.put(key, json.dumps(value))
