"""The graph as Graphviz draws it: what contains what, what is used of it, and who shares with whom."""

from collections.abc import Iterator, Mapping

from etcdcompute.placement.graph.documents import ProviderDocument
from etcdcompute.placement.graph.export import Snapshot, usages
from etcdcompute.placement.graph.standard import SHARES_VIA_AGGREGATE, class_order


def to_dot(snapshot: Snapshot) -> str:
    """Return the snapshot in the language of Graphviz's `dot`.

    A box is a provider with what is used of its capacities, an arrow leads from a provider to one below it. A dashed
    ellipse is an aggregate through which a provider shares (a double box), with lines to all its members.
    """
    return "\n".join(_lines(snapshot)) + "\n"


def _lines(snapshot: Snapshot) -> Iterator[str]:
    documents = sorted((document for document, _ in snapshot.providers), key=lambda each: each.uuid)
    used = usages(snapshot.consumers)
    sharing = {name for each in documents if SHARES_VIA_AGGREGATE in each.traits for name in each.aggregates}
    yield "digraph placement {"
    yield f'  graph [label="placement at revision {snapshot.revision}", rankdir=LR];'
    yield "  node [shape=box];"
    for each in documents:
        border = ", peripheries=2" if SHARES_VIA_AGGREGATE in each.traits else ""
        yield f"  {_quoted(each.uuid)} [label={_quoted(*_label(each, used.get(each.uuid, {})))}{border}];"
    for name in sorted(sharing):
        yield f"  {_quoted(f'aggregate {name}')} [label={_quoted('aggregate', name)}, shape=ellipse, style=dashed];"
    known = {each.uuid for each in documents}
    for each in documents:
        if each.parent_uuid in known:
            yield f"  {_quoted(str(each.parent_uuid))} -> {_quoted(each.uuid)};"
        for name in each.aggregates:
            if name in sharing:
                yield f"  {_quoted(each.uuid)} -> {_quoted(f'aggregate {name}')} [dir=none, style=dashed];"
    yield "}"


def _label(document: ProviderDocument, used: Mapping[str, int]) -> Iterator[str]:
    yield document.name
    for name in sorted(document.inventories, key=class_order):
        yield f"{name} {used.get(name, 0)}/{document.inventories[name].capacity}"


def _quoted(*lines: str) -> str:
    r"""Return a string of dot's, its lines apart by \n; characters that cannot be printed become blanks.

    dot reads entities of HTML in any string.
    """
    return '"' + r"\n".join(_escaped(line) for line in lines) + '"'


def _escaped(line: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in line)
    return printable.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
