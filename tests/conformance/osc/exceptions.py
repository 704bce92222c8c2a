"""osc-placement's tests that cannot apply to this service: by id, and why.

A test that is listed and passes all the same is a failure: take it off the list.
"""

from collections.abc import Mapping
from typing import Final

EXCEPTIONS: Final[Mapping[str, str]] = {}
