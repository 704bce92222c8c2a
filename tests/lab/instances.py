"""Instances that a test makes, and what it waits for."""

import uuid
from functools import partial
from typing import Any

from etcdcompute import operations
from etcdcompute.model import Instance, InstanceStatus, Phase, PowerState
from etcdcompute.operations.specs import build_instance
from tests.lab.cloud import Cloud, Node, patience, wait_for

BUILD_S = 120.0


class Instances:
    """Creates, watches and in the end deletes instances of one test."""

    def __init__(self, cloud: Cloud, image: dict[str, str]) -> None:
        self.cloud = cloud
        self.image = image
        self._names: list[str] = []

    def spec(self, **changes: Any) -> dict[str, Any]:
        name = changes.pop("name", f"t-{uuid.uuid4().hex[:8]}")
        resources = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
        return {"name": name, "image": self.image, "resources": resources} | changes

    def create(self, **changes: Any) -> Instance:
        instance = build_instance(self.spec(**changes), source="test")
        self._names.append(instance.name)
        operations.create_instance(self.cloud.kv, instance)
        return instance

    def adopt(self, instance: Instance) -> None:
        """Delete it in the end, whoever creates it."""
        self._names.append(instance.name)

    def create_running(self, **changes: Any) -> Instance:
        instance = self.create(**changes)
        self.await_settled(instance)
        return instance

    def await_settled(self, instance: Instance, timeout_s: float = BUILD_S) -> InstanceStatus:
        return operations.wait_until_settled(self.cloud.kv, instance, timeout_s=timeout_s * patience())

    def set_power_state(self, instance: Instance, state: PowerState) -> Instance:
        return operations.set_power_state(self.cloud.kv, instance.name, state)[0]

    def delete(self, instance: Instance) -> None:
        operations.delete_instance(self.cloud.kv, instance.uuid)

    def await_gone(self, instance: Instance, timeout_s: float = BUILD_S) -> None:
        limit_s = timeout_s * patience()
        operations.wait_until_gone(self.cloud.kv, instance.uuid, name=instance.name, timeout_s=limit_s)

    def status(self, instance: Instance) -> InstanceStatus | None:
        return operations.find_instance(self.cloud.kv, instance.uuid).status

    def await_status(self, instance: Instance, phase: Phase, code: str | None = None) -> InstanceStatus:
        def probe() -> InstanceStatus | None:
            status = self.status(instance)
            if status and status.phase is phase and (code is None or status.code == code):
                return status
            return None

        return wait_for(f"{instance.name} to be {phase} {code or ''}", probe, BUILD_S)

    def await_address(self, instance: Instance) -> str:
        def probe() -> str | None:
            status = self.status(instance)
            return status.addresses[0].ip if status and status.addresses else None

        return wait_for(f"{instance.name} to have an address", probe, 300)

    def node(self, instance: Instance) -> Node:
        status = self.status(instance)
        assert status is not None
        return self.cloud.nodes[status.host]

    def delete_all(self) -> None:
        for name in self._names:
            # What was adopted may never have come into being, which is success.
            operations.delete_instance(self.cloud.kv, name)
        for name in self._names:
            wait_for(f"{name} to be gone", partial(self._is_gone, name), BUILD_S)

    def _is_gone(self, name: str) -> bool:
        return all(row.name != name for row in operations.list_instances(self.cloud.kv))
