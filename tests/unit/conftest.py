"""For all unit tests."""

from hypothesis import settings

# By default an example that takes longer than 200 ms fails: on a busy machine that says nothing about what is tested.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")
