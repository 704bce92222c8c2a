"""The standard traits and resource classes, from os-traits and os-resource-classes."""

from typing import Final

import os_resource_classes
import os_traits

TRAITS: Final[frozenset[str]] = frozenset(os_traits.get_traits())
RESOURCE_CLASSES: Final[tuple[str, ...]] = tuple(os_resource_classes.STANDARDS)
SHARES_VIA_AGGREGATE: Final = "MISC_SHARES_VIA_AGGREGATE"


def is_custom(name: str) -> bool:
    """Whether a trait's or class's name is in the space that users may add to."""
    return name.startswith("CUSTOM_")
