"""The graph as Graphviz's language: read back by a small reader of that language."""

import re

from hypothesis import given
from hypothesis import strategies as st

from etcdcompute.placement.graph.drawing import to_dot
from etcdcompute.placement.graph.export import take_snapshot
from etcdcompute.placement.graph.records import Inventory
from tests.unit.placement.deployment import Host, graph_of

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_ATTRIBUTES = rf"\[\w+=(?:{_STRING}|\w+)(?:, \w+=(?:{_STRING}|\w+))*\]"
_STATEMENT = re.compile(rf"  (?:(graph|node)|({_STRING})(?: -> ({_STRING}))?)(?: ({_ATTRIBUTES}))?;")


def read(dot: str) -> tuple[dict[str, str], set[tuple[str, str, bool]]]:
    """Return the nodes' attributes, and the edges with whether they are dashed."""
    first, *lines, last = dot.removesuffix("\n").split("\n")
    assert (first, last) == ("digraph placement {", "}")
    nodes, edges = {}, set()
    for line in lines:
        statement = _STATEMENT.fullmatch(line)
        assert statement is not None, line
        keyword, node, other, attributes = statement.groups()
        if other is not None:
            edges.add((node[1:-1], other[1:-1], "dashed" in (attributes or "")))
        elif keyword is None:
            nodes[node[1:-1]] = attributes
    return nodes, edges


def test_containment_usage_and_sharing_are_drawn() -> None:
    graph = graph_of(
        Host(
            "cn",
            inventories={"VCPU": Inventory(8, allocation_ratio=2.0)},
            used={"VCPU": 3},
            aggregates=frozenset({"agg"}),
        ),
        Host("numa", parent="cn", inventories={"MEMORY_MB": Inventory(4096)}),
        Host(
            "ss",
            inventories={"DISK_GB": Inventory(2000, reserved=100)},
            traits=frozenset({"MISC_SHARES_VIA_AGGREGATE"}),
            aggregates=frozenset({"agg"}),
        ),
        Host("alone", aggregates=frozenset({"other"})),
    )
    nodes, edges = read(to_dot(take_snapshot(graph)))
    assert set(nodes) == {"cn", "numa", "ss", "alone", "aggregate agg"}
    assert r"\nVCPU 3/16" in nodes["cn"]
    assert r"\nDISK_GB 0/1900" in nodes["ss"]
    assert "peripheries=2" in nodes["ss"]
    assert "peripheries" not in nodes["cn"]
    assert edges == {("cn", "numa", False), ("cn", "aggregate agg", True), ("ss", "aggregate agg", True)}


@given(st.text())
def test_a_name_of_any_characters_is_a_label(name: str) -> None:
    nodes, _ = read(to_dot(take_snapshot(graph_of(Host(name), Host("below", parent=name)))))
    assert len(nodes) == len({name, "below"})


def test_a_name_is_drawn_as_it_is() -> None:
    nodes, _ = read(to_dot(take_snapshot(graph_of(Host('a "b" \\N &lt;')))))
    assert list(nodes) == [r"a \"b\" \\N &amp;lt;"]
