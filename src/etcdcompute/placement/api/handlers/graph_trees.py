"""Whole provider trees: declared, shown, removed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etcdcompute.errors import InvalidInput
from etcdcompute.placement.api.exchange import Request, Response, check_query, compile_schema, is_uuid, normal_uuid
from etcdcompute.placement.api.problems import Problem
from etcdcompute.placement.api.schemas.forms import record
from etcdcompute.placement.api.tree_documents import describe_tree, read_tree
from etcdcompute.placement.graph.errors import BadTree
from etcdcompute.placement.graph.store import GraphStore
from etcdcompute.placement.graph.trees import MAX_DEPTH, TreeOutcome

_NO_QUERY = compile_schema(record({}))


def declare(store: GraphStore, request: Request) -> Response:
    """Make a tree what the body says."""
    check_query(request, _NO_QUERY)
    root = _root(request)
    tree = read_tree(request.body)
    if tree.root_uuid != root:
        raise BadTree(f"The body declares the tree of {tree.root_uuid}, the path names {root}.")
    with too_much_at_once():
        outcome = store.declare_tree(tree)
    return Response(201 if root in outcome.created else 200, _describe_outcome(outcome))


def get(store: GraphStore, request: Request) -> Response:
    """Show a tree in the form in which it is declared."""
    check_query(request, _NO_QUERY)
    tree = store.get_tree(_root(request))
    if tree.depth > MAX_DEPTH:
        raise Problem(
            409,
            f"The tree is {tree.depth} providers deep; one that is declared has {MAX_DEPTH} at most. "
            f"Read it with GET /resource_providers?in_tree={tree.root_uuid}",
        )
    return Response(document=describe_tree(tree, {each.uuid: each.generation or 0 for each in tree.providers}))


def delete(store: GraphStore, request: Request) -> Response:
    """Make sure that a tree is absent."""
    check_query(request, _NO_QUERY)
    with too_much_at_once():
        store.delete_tree(_root(request))
    return Response(204)


@contextmanager
def too_much_at_once() -> Iterator[None]:
    """Say what to do where the store refuses a change for its size."""
    try:
        yield
    except InvalidInput as error:
        if error.http_status != 413:
            raise
        raise Problem(413, explain_too_much(error)) from error


def explain_too_much(error: InvalidInput) -> str:
    """Return the sentence for a change that is more than one transaction takes."""
    return (
        f"What is to change is more than one transaction of the store takes ({error}). Go in steps: declare the tree "
        "with some of the children first, then with more (or, to remove it, with fewer); what stands already is not "
        "written again."
    )


def _root(request: Request) -> str:
    given = request.path_items["root"]
    if not is_uuid(given):
        raise Problem(400, f"The path must name the root of a tree by its uuid; {given[:100]!r} is none.")
    return normal_uuid(given)


def _describe_outcome(outcome: TreeOutcome) -> dict[str, Any]:
    return {
        "changed": outcome.changed,
        "created": list(outcome.created),
        "updated": list(outcome.updated),
        "removed": list(outcome.removed),
        "created_traits": list(outcome.created_traits),
        "created_resource_classes": list(outcome.created_classes),
        "tree": describe_tree(outcome.tree, outcome.generations),
    }
