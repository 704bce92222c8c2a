"""The standard traits and resource classes, from os-traits and os-resource-classes."""

from typing import Final

import os_resource_classes
import os_traits

TRAITS: Final[frozenset[str]] = frozenset(os_traits.get_traits())
RESOURCE_CLASSES: Final[tuple[str, ...]] = tuple(os_resource_classes.STANDARDS)
CLASS_NAMES: Final[frozenset[str]] = frozenset(RESOURCE_CLASSES)
SHARES_VIA_AGGREGATE: Final = "MISC_SHARES_VIA_AGGREGATE"
_CLASS_ORDER: Final = {name: number for number, name in enumerate(RESOURCE_CLASSES)}


def class_order(name: str) -> tuple[int, str]:
    """Return a sort key: standard classes in their own order, then the custom ones by name."""
    return _CLASS_ORDER.get(name, len(_CLASS_ORDER)), name


def is_custom(name: str) -> bool:
    """Whether a trait's or class's name is in the space that users may add to."""
    return name.startswith("CUSTOM_")
