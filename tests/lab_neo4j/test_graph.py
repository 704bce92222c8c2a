"""placement_graph: neo4j, on real nodes: what is placed stands in the database, and its death is survived."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from etcdcompute import operations
from etcdcompute.model import Phase
from tests.lab.cloud import Cloud, wait_for
from tests.lab.instances import Instances
from tests.lab_neo4j.conftest import Database

UNITS = ("neo4j", "neo4j-watch")
ALLOCATION = """
MATCH (consumer:Consumer {uuid: $uuid})-[held:CONSUMES]->(inventory:Inventory)<-[:PROVIDES]-(host:ResourceProvider)
RETURN host.name AS host, inventory.resource_class AS class, held.amount AS amount
"""


def consumed(database: Database, uuid: str) -> dict[tuple[str, str], int]:
    """Return what an instance holds in the database: (host, resource class) -> amount."""
    return {(row["host"], row["class"]): row["amount"] for row in database.ask(ALLOCATION, uuid=uuid)}


def health(cloud: Cloud) -> tuple[int, dict[str, Any]]:
    """Return the status of placement's healthcheck, and what it says of what it depends on."""
    try:
        with urllib.request.urlopen(f"{cloud.placement_urls[0]}/healthcheck", timeout=20) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except OSError:
        return 0, {}
    return status, json.loads(body)["dependencies"]


def test_the_server_is_on_the_first_controller_alone(cloud: Cloud) -> None:
    server, other = cloud.nodes.values()
    for unit in UNITS:
        assert server.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}").split() == ["active", "enabled"]
        assert not other.succeeds(f"systemctl cat {unit}")
    assert server.run("systemctl list-units --failed --plain --no-legend 'neo4j*'") == ""


def test_it_listens_where_it_was_asked_to_and_nowhere_else(cloud: Cloud, database: Database) -> None:
    lines = [line for line in database.node.run("ss --no-header -lntp").splitlines() if '"java"' in line]
    sockets = [line.split()[3].replace("[::ffff:", "").replace("]", "") for line in lines]
    assert sockets == [f"{database.node.address}:7687"]


def test_its_password_is_for_the_controllers(cloud: Cloud, database: Database) -> None:
    server, other = cloud.nodes.values()
    assert server.run("stat --format='%a %U %G' /etc/neo4j/password /etc/neo4j").split("\n")[:2] == [
        "640 root neo4j",
        "750 root neo4j",
    ]
    configuration = "/etc/etcdcompute/etcdcompute.yaml"
    assert server.succeeds(f"grep -q 'graph: neo4j://neo4j:.*@{server.address}:7687$' {configuration}")
    assert not other.succeeds(f"grep -q neo4j {configuration}")
    password = (cloud.directory / ".credentials" / "neo4j_password").read_text().strip()
    assert password not in server.run("ps -eo args; journalctl --no-pager --output=cat")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:8778/", "http://[::1]:8778/"])
def test_a_statement_reads_neither_files_nor_the_network(database: Database, url: str) -> None:
    said = database.refuses(f"LOAD CSV FROM '{url}' AS row RETURN row")
    assert "dbms.security.allow_csv_import_from_file_urls" in said or "internal.dbms.cypher_ip_blocklist" in said


def test_what_the_module_declared_stands_in_the_graph(cloud: Cloud, database: Database) -> None:
    (row,) = [row for row in operations.list_instances(cloud.kv) if row.name == "vm1"]
    assert row.status is not None
    assert row.status.phase is Phase.RUNNING
    host = row.status.host
    assert consumed(database, row.key) == {(host, "VCPU"): 1, (host, "MEMORY_MB"): 128, (host, "DISK_GB"): 1}


def test_an_instance_is_in_the_graph_for_as_long_as_it_is_there(
    cloud: Cloud, instances: Instances, database: Database
) -> None:
    instance = instances.create_running()
    host = instances.node(instance).name
    assert consumed(database, instance.uuid) == {(host, "VCPU"): 1, (host, "MEMORY_MB"): 128, (host, "DISK_GB"): 1}
    cloud.expect_consistent()
    instances.delete(instance)
    instances.await_gone(instance)
    assert consumed(database, instance.uuid) == {}
    assert database.ask("MATCH (i:Inventory) WHERE i.used > 0 RETURN sum(i.used) AS used") == [{"used": 130}]


def test_placement_names_the_store_while_it_is_down_and_recovers_by_itself(
    cloud: Cloud, instances: Instances, database: Database
) -> None:
    assert health(cloud)[0] == 200
    before = cloud.daemon_pid(database.node, "placement")
    database.node.run("systemctl kill --signal=KILL neo4j.service")

    def down() -> dict[str, Any] | None:
        status, dependencies = health(cloud)
        return dependencies if status == 503 else None

    said = wait_for("placement to miss its store", down, 60)
    assert f"Neo4j at {database.node.address}:7687" in said["store"]
    # Asked for while the store is away: carried out when it is back.
    instance = instances.create()
    wait_for("placement to be healthy again", lambda: health(cloud)[0] == 200, 180)
    instances.await_settled(instance)
    assert consumed(database, instance.uuid)
    assert cloud.daemon_pid(database.node, "placement") == before
