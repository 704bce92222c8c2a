"""Why the graph refuses: domain terms, on the project's error tree.

InvalidInput
├── BadProviderTree         a parent that is missing, a loop, a move that the version does not allow
├── UnknownProvider         an allocation names a provider that does not exist
├── UnknownResourceClass
├── UnknownTrait
├── BadInventory            reserved beyond total
├── BadTree                 a declared tree that says twice, or not well, what it says
├── TreeTooLarge            too deep, or too many providers
├── StandardName            a standard trait or class cannot be changed
├── NoQueryLanguage         the store takes no queries of somebody's own
├── QueryMayOnlyRead        a query wants more than to read the graph
├── QueryTooLong            … longer than it may
├── QueryTooLarge           … more than the service, or the database, has memory for
├── BadArchive              a file that holds no graph, or not the whole of one
└── BrokenGraph             a graph whose parts do not fit together
NotFound
├── ProviderNotFound · TraitNotFound · ResourceClassNotFound · InventoryNotFound · ConsumerNotFound
Conflict
├── GenerationConflict      of a provider
├── ConsumerGenerationConflict
├── NameTaken · InventoryExists
├── ProviderElsewhere       a provider of a declared tree is in another one
├── CannotAllocate          no such inventory, not that amount, or not that much free
└── InUse
    ├── ProviderInUse · ProviderHasChildren · InventoryInUse · TraitInUse · ResourceClassInUse
"""

from collections.abc import Iterable

from etcdcompute.errors import Conflict, InvalidInput, NotFound

_MOST_NAMED = 10


class BadProviderTree(InvalidInput):
    """The tree asked for is not one."""


class UnknownProvider(InvalidInput):
    """A body names a provider that does not exist."""


class UnknownResourceClass(InvalidInput):
    """A body or query names a resource class that does not exist."""


class UnknownTrait(InvalidInput):
    """A body or query names traits that do not exist."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = ", ".join(sorted(names))
        super().__init__(f"No such trait(s): {self.names}.")


class BadInventory(InvalidInput):
    """An inventory that cannot be."""


class BadTree(InvalidInput):
    """A declared tree that cannot be."""


class TreeTooLarge(InvalidInput):
    """A declared tree with more levels or providers than are taken."""

    http_status = 413


class StandardName(InvalidInput):
    """Standard traits and resource classes are given."""


class NoQueryLanguage(InvalidInput):
    """The store has no language to be asked in."""


class QueryMayOnlyRead(InvalidInput):
    """A query would change something, or see what is not the graph's."""


class QueryTooLong(InvalidInput):
    """A query did not end in its time."""


class QueryTooLarge(InvalidInput):
    """A query, or its answer, takes too much memory."""


class BadArchive(InvalidInput):
    """A file is none of a graph, was cut off, or changed."""


class BrokenGraph(InvalidInput):
    """A graph has claims, trees or names that lead nowhere."""


class ProviderNotFound(NotFound):
    """There is no such provider."""

    def __init__(self, uuid: str) -> None:
        super().__init__(f"No resource provider with uuid {uuid} found")


class TraitNotFound(NotFound):
    """There is no such trait."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such trait(s): {name}.")


class ResourceClassNotFound(NotFound):
    """There is no such resource class."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such resource class {name}.")


class InventoryNotFound(NotFound):
    """The provider has no inventory of that class."""


class ConsumerNotFound(NotFound):
    """The consumer has no allocations."""


class GenerationConflict(Conflict):
    """The provider has changed since the caller read it."""


class ConsumerGenerationConflict(Conflict):
    """The consumer has changed since the caller read it."""


class NameTaken(Conflict):
    """Another provider, trait or class has the name or uuid."""

    retryable = False


class ProviderElsewhere(Conflict):
    """A provider is in another tree than the one it was declared or looked for in."""

    retryable = False


class InventoryExists(Conflict):
    """The provider has an inventory of that class already."""


class CannotAllocate(Conflict):
    """A claim asks for what is not there."""


class InUse(Conflict):
    """What was to be removed is used; the message names by whom."""

    retryable = False


class ProviderInUse(InUse):
    """The provider has allocations."""


class ProviderHasChildren(InUse):
    """The provider has providers below it."""


class InventoryInUse(InUse):
    """There are allocations from the inventory."""


class TraitInUse(InUse):
    """Providers have the trait."""


class ResourceClassInUse(InUse):
    """Providers have inventory of the class."""


def some(things: Iterable[str]) -> str:
    """Return the first few of the things, and how many more there are, for a message."""
    listed = sorted(things)
    shown = ", ".join(listed[:_MOST_NAMED])
    return f"{shown} and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else shown
