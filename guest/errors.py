"""The one kind of error this package expects to happen."""


class GuestError(Exception):
    """A sentence for the person who builds: what is wrong, where, and the way out."""
