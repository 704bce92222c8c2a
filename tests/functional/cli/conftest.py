"""The control plane that the scheduler's tests have."""

from tests.functional.scheduler.conftest import cloud

__all__ = ["cloud"]
