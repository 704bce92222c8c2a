"""Which part of the graph an operation is about: what it loads, and what it locks first."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from etcdcompute.placement.graph.documents import HEAD, Kind, Ref
from etcdcompute.placement.graph.records import Claim
from etcdcompute.placement.graph.standard import is_custom
from etcdcompute.placement.graph.trees import Tree

_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    """Uuids and names; a provider always comes with its whole tree.

    `claimed`: the providers whose consumers are needed, and not only what is used. `names`: providers by name.
    `traits` and `classes` are custom ones to look up; of `users_of_traits` and `users_of_classes` it is asked, too,
    who has them. `locks` are taken before anything is looked at; what else a decision turns out to depend on is locked
    then, and looked at again.
    """

    providers: Collection[str] = _NONE
    names: Collection[str] = _NONE
    consumers: Collection[str] = _NONE
    claimed: Collection[str] = _NONE
    traits: Collection[str] = _NONE
    classes: Collection[str] = _NONE
    users_of_traits: Collection[str] = _NONE
    users_of_classes: Collection[str] = _NONE
    locks: Collection[Ref] = ()


def of_provider(
    uuid: str,
    *,
    names: Iterable[str] = (),
    traits: Iterable[str] = (),
    classes: Iterable[str] = (),
    claimed: bool = False,
) -> Scope:
    """Return the scope of a change of one provider."""
    return Scope(
        providers=[uuid],
        names=list(names),
        traits=_custom(traits),
        classes=_custom(classes),
        claimed=[uuid] if claimed else _NONE,
        locks=[Ref(Kind.GENERATION, uuid)],
    )


def of_new_provider(uuid: str, name: str, parent_uuid: str | None) -> Scope:
    """Return the scope of a provider that is to be, or to move below another."""
    uuids = [uuid] if parent_uuid is None else [uuid, parent_uuid]
    return Scope(providers=uuids, names=[name], locks=[Ref(Kind.GENERATION, each) for each in uuids])


def of_trees(trees: Sequence[Tree]) -> Scope:
    """Return the scope of trees that are declared; what stands of them is locked once it is known."""
    providers = [each for tree in trees for each in tree.providers]
    uuids = [each.uuid for each in providers]
    return Scope(
        providers=uuids,
        names=[each.name for each in providers],
        claimed=uuids,
        traits=_custom(name for each in providers for name in each.traits),
        classes=_custom(name for each in providers for name in each.inventories),
    )


def of_tree(uuid: str) -> Scope:
    """Return the scope of one tree and all that is claimed from it."""
    return Scope(providers=[uuid], claimed=[uuid])


def of_claims(claims: Sequence[Claim], *, reshaped: Collection[str] = (), classes: Iterable[str] = ()) -> Scope:
    """Return the scope of claims, and of providers that are reshaped with them."""
    uuids = sorted({uuid for each in claims for uuid in each.allocations} | set(reshaped))
    named = {name for each in claims for resources in each.allocations.values() for name in resources}
    consumers = sorted({each.consumer_uuid for each in claims})
    return Scope(
        providers=uuids,
        consumers=consumers,
        claimed=reshaped,
        classes=_custom(named.union(classes)),
        locks=[*(Ref(Kind.GENERATION, uuid) for uuid in uuids), *(Ref(Kind.CONSUMER, uuid) for uuid in consumers)],
    )


def of_release(consumer_uuid: str) -> Scope:
    """Return the scope of the end of a consumer's allocations."""
    return Scope(consumers=[consumer_uuid], locks=[Ref(Kind.CONSUMER, consumer_uuid)])


def of_documents(refs: Iterable[Ref]) -> Scope:
    """Return the scope of documents that are put as they are."""
    ids: dict[Kind, list[str]] = {}
    for ref in refs:
        ids.setdefault(ref.kind, []).append(ref.id)
    providers, consumers = ids.get(Kind.PROVIDER, []), ids.get(Kind.CONSUMER, [])
    return Scope(
        providers=providers,
        consumers=consumers,
        locks=[*(Ref(Kind.GENERATION, uuid) for uuid in providers), *(Ref(Kind.CONSUMER, uuid) for uuid in consumers)],
    )


def of_names(*, traits: Iterable[str], classes: Iterable[str]) -> Scope:
    """Return the scope of nothing but names."""
    return Scope(traits=_custom(traits), classes=_custom(classes))


def of_trait(name: str, *, removed: bool = False) -> Scope:
    """Return the scope of a custom trait; whether one may go is a question about the whole graph."""
    return Scope(traits=[name], users_of_traits=[name] if removed else _NONE, locks=[HEAD] if removed else ())


def of_class(*names: str, removed: str | None = None) -> Scope:
    """Return the scope of custom resource classes, of which one may go."""
    return Scope(
        classes=names,
        users_of_classes=_NONE if removed is None else [removed],
        locks=() if removed is None else [HEAD],
    )


def _custom(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if is_custom(name)})
