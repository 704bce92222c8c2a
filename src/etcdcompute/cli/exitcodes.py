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
    # By its code, since its class is in a module that most commands need not import.
    if error.code == "timed_out":
        return TIMED_OUT
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), FAILED)
