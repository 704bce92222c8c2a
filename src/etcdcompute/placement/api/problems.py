"""Refusals, as the API writes them, and what the graph's errors become."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from etcdcompute.errors import (
    AccessDenied,
    Conflict,
    EtcdComputeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Stopped,
    Unavailable,
)
from etcdcompute.placement.graph import errors

UNDEFINED: Final = "placement.undefined_code"
CONCURRENT_UPDATE: Final = "placement.concurrent_update"
DUPLICATE_NAME: Final = "placement.duplicate_name"
INVENTORY_IN_USE: Final = "placement.inventory.inuse"
PROVIDER_IN_USE: Final = "placement.resource_provider.inuse"
RESOURCE_PROVIDER_NOT_FOUND: Final = "placement.resource_provider.not_found"
PROVIDER_IS_PARENT: Final = "placement.resource_provider.cannot_delete_parent"
QUERY_DUPLICATE_KEY: Final = "placement.query.duplicate_key"
QUERY_BAD_VALUE: Final = "placement.query.bad_value"
QUERY_MISSING_VALUE: Final = "placement.query.missing_value"
# Not OpenStack's: the store's answer to a write was lost and could not be found out.
OUTCOME_UNKNOWN: Final = "placement.outcome_unknown"

_CODES_SINCE = 23
MOST_DETAIL: Final = 4000
_EXPLANATIONS: Final = {
    404: "The resource could not be found.",
    405: "The method is not allowed for this resource.",
}
# The first that fits counts: the most special come first. A status of 0 is the error's own.
_MEANINGS: Final[tuple[tuple[type[EtcdComputeError], int, str], ...]] = (
    (errors.GenerationConflict, 409, CONCURRENT_UPDATE),
    (errors.ConsumerGenerationConflict, 409, CONCURRENT_UPDATE),
    (errors.InventoryExists, 409, CONCURRENT_UPDATE),
    (errors.NameTaken, 409, DUPLICATE_NAME),
    (errors.ProviderInUse, 409, PROVIDER_IN_USE),
    (errors.ProviderHasChildren, 409, PROVIDER_IS_PARENT),
    (errors.InventoryInUse, 409, INVENTORY_IN_USE),
    (Conflict, 409, UNDEFINED),
    # The store's, not the client's: etcd refuses this service.
    (AccessDenied, 503, UNDEFINED),
    (Stopped, 503, UNDEFINED),
    (NotFound, 404, UNDEFINED),
    # 400, or 413 for what is more than the store takes in one transaction.
    (InvalidInput, 0, UNDEFINED),
    (OutcomeUnknown, 503, OUTCOME_UNKNOWN),
    (Unavailable, 503, UNDEFINED),
)


class Problem(Exception):
    """An answer that is not what was asked for: status, detail, code, further headers and fields."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str = UNDEFINED,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = _short(detail) or _EXPLANATIONS.get(status, HTTPStatus(status).description)
        self.code = code
        self.headers = headers or {}
        self.extra = extra or {}

    @property
    def title(self) -> str:
        """The status in words."""
        return _title(self.status)

    def document(self, version: int | None, request_id: str | None = None) -> dict[str, Any]:
        """Return the error document as a client of that version knows it."""
        # OpenStack's command line shows the last line only.
        detail = " ".join(line for line in self.detail.splitlines() if line)
        error: dict[str, Any] = {"status": self.status, "title": self.title, "detail": detail, **self.extra}
        if request_id is not None:
            error["request_id"] = request_id
        if version is not None and version >= _CODES_SINCE:
            error["code"] = self.code
        return {"errors": [error]}


def _short(detail: str) -> str:
    """Return a sentence without its middle where it quotes too much of what was sent."""
    if len(detail) <= MOST_DETAIL:
        return detail
    return f"{detail[: MOST_DETAIL // 2]} … {detail[-MOST_DETAIL // 2 :]}"


def _title(status: int) -> str:
    # The standard's names of these two have changed since clients learnt them.
    return {413: "Request Entity Too Large", 414: "Request URI Too Long"}.get(status, HTTPStatus(status).phrase)


def problem_of(error: EtcdComputeError, prefix: str = "", *, status: int | None = None) -> Problem:
    """Return what an error means to a client; `prefix` says what could not be done, `status` overrules."""
    for kind, usual_status, code in _MEANINGS:
        if isinstance(error, kind):
            headers = {"retry-after": "1"} if usual_status == 503 else {}
            return Problem(status or usual_status or error.http_status, f"{prefix}{error}", code=code, headers=headers)
    return Problem(max(error.http_status, 500), f"{prefix}{error}")
