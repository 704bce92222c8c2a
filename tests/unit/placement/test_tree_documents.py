"""Trees as JSON: what is taken, what is refused with which sentence, and that what is given back is taken again."""

import json
from typing import Any

import pytest

from etcdcompute.errors import InvalidInput
from etcdcompute.placement.api.tree_documents import describe_tree, read_tree
from etcdcompute.placement.graph.records import Inventory
from etcdcompute.placement.graph.trees import MAX_DEPTH, MAX_PROVIDERS


def uuid(number: int) -> str:
    return f"11111111-2222-3333-4444-{number:012}"


def body(number: int, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"uuid": uuid(number), "name": f"name{number}", "children": list(children), **fields}


def read(document: object) -> Any:
    return read_tree(json.dumps(document).encode())


def test_a_document_becomes_a_tree_and_a_tree_a_document() -> None:
    aggregate = "AAAAAAAABBBBCCCCDDDDEEEEEEEEEEEE"
    document = body(
        1,
        body(3, body(4)),
        body(2, traits=["HW_NUMA_ROOT", "CUSTOM_A", "CUSTOM_A"], aggregates=[aggregate]),
        inventories={"VCPU": {"total": 4, "allocation_ratio": 2}, "DISK_GB": {"total": 1, "reserved": 1}},
    )
    tree = read(document)
    assert [(each.uuid, each.parent_uuid) for each in tree.providers] == [
        (uuid(1), None),
        (uuid(3), uuid(1)),
        (uuid(2), uuid(1)),
        (uuid(4), uuid(3)),
    ]
    assert tree.root_uuid == uuid(1)
    assert tree.providers[0].inventories == {
        "DISK_GB": Inventory(1, reserved=1),
        "VCPU": Inventory(4, allocation_ratio=2.0),
    }
    assert tree.providers[2].traits == ("CUSTOM_A", "HW_NUMA_ROOT")
    assert tree.providers[2].aggregates == ("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",)
    shown = describe_tree(tree, {each.uuid: 7 for each in tree.providers})
    assert [child["name"] for child in shown["children"]] == ["name2", "name3"]
    assert shown["children"][1]["children"][0]["generation"] == 7
    again = read(shown)
    assert {each.generation for each in again.providers} == {7}
    assert describe_tree(again, {each.uuid: 7 for each in again.providers}) == shown


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "Expected `object`"),
        ({}, "missing required field `uuid`"),
        ({"uuid": uuid(1)}, "missing required field `name`"),
        ({"uuid": "host", "name": "host"}, r"Invalid UUID - at `\$.uuid`"),
        (body(1, parent_uuid=uuid(2)), "unknown field `parent_uuid`"),
        (body(1, name=""), "length >= 1"),
        (body(1, name="x" * 201), "length <= 200"),
        (body(1, generation=-1), ">= 0"),
        (body(1, traits=["x" * 256]), r"length <= 255 - at `\$.traits"),
        (body(1, body(2, name=3)), r"at `\$.children\[0\].name`"),
        (body(1, body(1)), f"{uuid(1)} is in the tree more than once"),
        (body(1, body(2, name="name1")), "More than one resource provider of the tree has the name name1"),
        (body(1, inventories={"VCPU": {}}), "missing required field `total`"),
        (body(1, inventories={"VCPU": {"total": 0}}), f"'VCPU' on resource provider '{uuid(1)}'. total must be from 1"),
        (body(1, inventories={"VCPU": {"total": 2**31}}), "total must be from 1 to 2147483647"),
        (body(1, inventories={"VCPU": {"total": 2**70}}), "total must be from 1 to 2147483647"),
        (body(1, inventories={"VCPU": {"total": 1, "step_size": 0}}), "step_size must be from 1"),
        (body(1, inventories={"VCPU": {"total": 1, "reserved": 2}}), "reserved value is greater than total"),
        (body(1, inventories={"VCPU": {"total": 1, "allocation_ratio": 1e39}}), "allocation_ratio must be from"),
        (body(1, inventories={"VCPU": {"total": 9, "allocation_ratio": -1e308}}), "allocation_ratio must be from"),
        (body(1, inventories={"VCPU": {"total": 1, "ponies": 1}}), "unknown field `ponies`"),
    ],
)
def test_what_is_no_tree_is_named(document: object, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        read(document)
    assert refused.value.http_status == 400


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"name": "\\ud800"}'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="Malformed JSON"):
        read_tree(data)


def chain(length: int) -> dict[str, Any]:
    document = body(length)
    for number in range(length - 1, 0, -1):
        document = body(number, document)
    return document


def test_trees_have_limits() -> None:
    assert len(read(chain(MAX_DEPTH)).providers) == MAX_DEPTH
    with pytest.raises(InvalidInput, match="more than 32 providers deep") as refused:
        read(chain(MAX_DEPTH + 1))
    assert refused.value.http_status == 413
    with pytest.raises(InvalidInput, match="more than 32 providers deep"):
        read_tree(b'{"children": [' * 100_000)
    assert len(read(body(1, *(body(2 + number) for number in range(MAX_PROVIDERS - 1)))).providers) == MAX_PROVIDERS
    with pytest.raises(InvalidInput, match="more than 1000 providers"):
        read(body(1, *(body(2 + number) for number in range(MAX_PROVIDERS))))
