"""The standard traits and resource classes, from os-traits and os-resource-classes."""

from typing import Final

import os_resource_classes
import os_traits

TRAITS: Final[frozenset[str]] = frozenset(os_traits.get_traits())
RESOURCE_CLASSES: Final[tuple[str, ...]] = tuple(os_resource_classes.STANDARDS)
SHARES_VIA_AGGREGATE: Final = "MISC_SHARES_VIA_AGGREGATE"
CUSTOM_PREFIX: Final = "CUSTOM_"
