"""OpenStack's fixtures as documents of our graph: recorded from OpenStack's own service, generations included."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from etcdcompute.model.document import Document
from etcdcompute.placement.graph.documents import (
    ConsumerDocument,
    GenerationDocument,
    Kind,
    NamedDocument,
    NameDocument,
    ProviderDocument,
    Ref,
)
from etcdcompute.placement.graph.records import Inventory

Documents = Mapping[Ref, Document]


@dataclass(frozen=True)
class Topology:
    """What a fixture leaves behind: environment variables, which the tests name, and the graph."""

    environment: Mapping[str, str]
    documents: Documents


def record_topologies(fixtures: Sequence[str], directory: Path) -> dict[str, Topology]:
    """Run OpenStack's fixtures in a process of their own; return what each made."""
    answer = directory / "topologies.json"
    log = directory / "openstack.log"
    program = Path(__file__).with_name("openstack.py")
    with log.open("wb") as output:
        status = subprocess.run(
            [sys.executable, program, answer, *fixtures], stdout=output, stderr=output, check=False
        ).returncode
    if status:
        raise RuntimeError(f"OpenStack's fixtures failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
    recorded = json.loads(answer.read_text(encoding="utf-8"))
    return {name: Topology(each["environment"], dict(_documents(each, time.time()))) for name, each in recorded.items()}


def _documents(state: Mapping[str, Any], now: float) -> Iterator[tuple[Ref, Document]]:
    for name in state["traits"]:
        yield Ref(Kind.TRAIT, name), NamedDocument(created_at=now)
    for name in state["resource_classes"]:
        yield Ref(Kind.RESOURCE_CLASS, name), NamedDocument(created_at=now)
    for provider in state["providers"]:
        uuid, name = provider["uuid"], provider["name"]
        # The provider first, as the service itself writes them: the rest is about it.
        yield (
            Ref(Kind.PROVIDER, uuid),
            ProviderDocument(
                uuid=uuid,
                name=name,
                parent_uuid=provider["parent_uuid"],
                inventories=msgspec.convert(provider["inventories"], dict[str, Inventory]),
                traits=tuple(sorted(provider["traits"])),
                aggregates=tuple(sorted(provider["aggregates"])),
                created_at=now,
                updated_at=now,
            ),
        )
        yield Ref(Kind.GENERATION, uuid), GenerationDocument(generation=provider["generation"])
        yield Ref(Kind.NAME, name), NameDocument(uuid=uuid)
    for uuid, consumer in state["consumers"].items():
        kind = consumer["consumer_type"]
        yield (
            Ref(Kind.CONSUMER, uuid),
            ConsumerDocument(
                uuid=uuid,
                generation=consumer["consumer_generation"],
                project_id=consumer["project_id"],
                user_id=consumer["user_id"],
                consumer_type=None if kind == "unknown" else kind,
                allocations={rp: each["resources"] for rp, each in consumer["allocations"].items()},
                updated_at=now,
            ),
        )
