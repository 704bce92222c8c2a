"""OpenStack's warnings, which are its maintainers' business and would be errors in our tests."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let nothing warn for a while."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
