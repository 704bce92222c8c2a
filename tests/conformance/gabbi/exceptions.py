"""OpenStack's tests that cannot apply to this service: by file, the test's name and why.

A test that is listed and passes all the same is a failure: take it off the list.
"""

from collections.abc import Mapping
from typing import Final

EXCEPTIONS: Final[Mapping[str, Mapping[str, str]]] = {}
