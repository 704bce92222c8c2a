"""Provider trees as JSON: read at the edge once, strictly, and written back in the same form."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from etcdcompute.placement.graph.errors import BadInventory, BadTree, TreeTooLarge
from etcdcompute.placement.graph.records import MAX_INT, Inventory
from etcdcompute.placement.graph.trees import MAX_DEPTH, MAX_PROVIDERS, DeclaredProvider, Tree

_MOST_NAMED: Final = 255
# The largest single-precision number, as for the standard routes.
_MAX_RATIO: Final = 3.40282e38
_LEAST: Final = {"total": 1, "reserved": 0, "min_unit": 1, "max_unit": 1, "step_size": 1}

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=_MOST_NAMED)]


class ProviderBody(msgspec.Struct, forbid_unknown_fields=True):
    """A provider with all below it, as a client sends it. What is left out is empty; a generation is a guard."""

    uuid: UUID
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    generation: Annotated[int, msgspec.Meta(ge=0)] | None = None
    inventories: dict[_Name, Inventory] = {}
    traits: list[_Name] = []
    aggregates: list[UUID] = []
    children: list["ProviderBody"] = []


_DECODER: Final = msgspec.json.Decoder(ProviderBody)


def read_tree(data: bytes) -> Tree:
    """Return the tree of a JSON document; BadTree, BadInventory and TreeTooLarge say what is wrong where."""
    try:
        body = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        form = "JSON does not validate" if isinstance(error, msgspec.ValidationError) else "Malformed JSON"
        raise BadTree(f"{form}: {error}") from error
    except RecursionError:
        raise _too_deep() from None
    providers: list[DeclaredProvider] = []
    uuids: set[str] = set()
    names: set[str] = set()
    level: list[tuple[ProviderBody, str | None]] = [(body, None)]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if len(providers) + len(level) > MAX_PROVIDERS:
            raise TreeTooLarge(f"The tree has more than {MAX_PROVIDERS} providers.")
        below: list[tuple[ProviderBody, str | None]] = []
        for each, parent_uuid in level:
            provider = _read_provider(each, parent_uuid)
            if provider.uuid in uuids:
                raise BadTree(f"Resource provider {provider.uuid} is in the tree more than once.")
            if provider.name in names:
                raise BadTree(f"More than one resource provider of the tree has the name {provider.name}.")
            uuids.add(provider.uuid)
            names.add(provider.name)
            providers.append(provider)
            below.extend((child, provider.uuid) for child in each.children)
        level = below
    return Tree(tuple(providers))


def describe_tree(tree: Tree, generations: Mapping[str, int]) -> dict[str, Any]:
    """Return a tree as a client may send it back, children in the order of their names."""
    documents: dict[str, dict[str, Any]] = {}
    for each in tree.providers:
        document: dict[str, Any] = {
            "uuid": each.uuid,
            "name": each.name,
            "generation": generations[each.uuid],
            "inventories": {name: msgspec.structs.asdict(inventory) for name, inventory in each.inventories.items()},
            "traits": list(each.traits),
            "aggregates": list(each.aggregates),
            "children": [],
        }
        documents[each.uuid] = document
        if each.parent_uuid in documents:
            documents[each.parent_uuid]["children"].append(document)
    for document in documents.values():
        document["children"].sort(key=lambda child: child["name"])
    return documents[tree.root_uuid]


def _read_provider(body: ProviderBody, parent_uuid: str | None) -> DeclaredProvider:
    uuid = str(body.uuid)
    for name, inventory in body.inventories.items():
        _check_inventory(uuid, name, inventory)
    return DeclaredProvider(
        uuid,
        body.name,
        parent_uuid,
        dict(sorted(body.inventories.items())) if len(body.inventories) > 1 else body.inventories,
        tuple(sorted(set(body.traits))),
        tuple(sorted({str(each) for each in body.aggregates})),
        body.generation,
    )


def _check_inventory(uuid: str, name: str, inventory: Inventory) -> None:
    if (
        1 <= inventory.total <= MAX_INT
        and 0 <= inventory.reserved <= inventory.total
        and 1 <= inventory.min_unit <= MAX_INT
        and 1 <= inventory.max_unit <= MAX_INT
        and 1 <= inventory.step_size <= MAX_INT
        and 0 <= inventory.allocation_ratio <= _MAX_RATIO
    ):
        return
    # One in many thousands gets here, and has to be told what is wrong with it; or nothing is.
    wrong = ""
    for field, least in _LEAST.items():
        if not least <= getattr(inventory, field) <= MAX_INT:
            wrong = f"{field} must be from {least} to {MAX_INT}."
    if not -_MAX_RATIO <= inventory.allocation_ratio <= _MAX_RATIO:
        wrong = f"allocation_ratio must be from -{_MAX_RATIO} to {_MAX_RATIO}."
    if wrong:
        raise BadInventory(f"Invalid inventory for '{name}' on resource provider '{uuid}'. {wrong}")
    if inventory.capacity < 0:
        raise BadInventory(
            f"Invalid inventory for '{name}' on resource provider '{uuid}'. The reserved value is greater than total."
        )


def _too_deep() -> TreeTooLarge:
    return TreeTooLarge(f"The tree is more than {MAX_DEPTH} providers deep.")
