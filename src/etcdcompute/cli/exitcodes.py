"""What the program's exit status means; stable, and documented in docs/cli.md."""

from etcdcompute.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    EtcdComputeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Stopped,
    Unavailable,
)

OK = 0
FAILED = 1
INVALID = 2
NOT_FOUND = 3
CONFLICT = 4
UNAVAILABLE = 5
DENIED = 6
TIMED_OUT = 7
INTERRUPTED = 130

_BY_CLASS: tuple[tuple[type[EtcdComputeError], int], ...] = (
    (InvalidInput, INVALID),
    (NotFound, NOT_FOUND),
    (AlreadyExists, CONFLICT),
    (Conflict, CONFLICT),
    (Unavailable, UNAVAILABLE),
    (OutcomeUnknown, UNAVAILABLE),
    (AccessDenied, DENIED),
    (Stopped, INTERRUPTED),
)


def compute_exit_code(error: EtcdComputeError) -> int:
    """Return the exit status that an error ends the program with."""
    # An error may say more exactly than its class what it is: a time limit, for instance.
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), FAILED)
