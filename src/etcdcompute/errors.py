"""The error tree every package builds on.

    EtcdComputeError
    ├── InvalidInput           what a person or another program gave us is wrong
    ├── NotFound               it is not there
    ├── AlreadyExists          a name or a key is taken
    ├── Conflict               somebody else wrote first: read again
    ├── Unavailable            a dependency does not answer now
    ├── OutcomeUnknown         the request was sent and the answer was lost: read before retrying
    ├── AccessDenied           wrong or missing credentials
    └── Stopped                the caller itself was told to stop

`code` is stable and meant for programs, the message is one sentence for a person, `retryable` says whether the
same call may succeed later without anybody changing anything. "Outcome unknown" is not "failed".
"""

from typing import ClassVar


class EtcdComputeError(Exception):
    """Base of all errors that are expected to happen; anything else is a bug."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


class InvalidInput(EtcdComputeError):
    """The input is wrong: the message names what, where and the way out."""

    code = "invalid_input"
    http_status = 400


class NotFound(EtcdComputeError):
    """What was asked for does not exist."""

    code = "not_found"
    http_status = 404


class AlreadyExists(EtcdComputeError):
    """The name or key is taken by something else."""

    code = "already_exists"
    http_status = 409


class Conflict(EtcdComputeError):
    """A concurrent write came first; reading again and deciding again helps."""

    code = "conflict"
    http_status = 409
    retryable = True


class Unavailable(EtcdComputeError):
    """A dependency (etcd, placement, libvirt) cannot be reached or does not answer in time; nothing was changed."""

    code = "unavailable"
    http_status = 503
    retryable = True


class OutcomeUnknown(EtcdComputeError):
    """The request was sent but its answer was lost: it may or may not have been carried out."""

    code = "outcome_unknown"
    http_status = 503
    retryable = True


class AccessDenied(EtcdComputeError):
    """Credentials are missing or wrong."""

    code = "access_denied"
    http_status = 403


class Stopped(EtcdComputeError):
    """The operation ended because its owner was told to stop."""

    code = "stopped"
