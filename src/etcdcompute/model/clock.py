"""Times in documents."""

from datetime import UTC, datetime


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (now, unless given) as RFC 3339 in UTC with milliseconds: 2026-01-31T09:05:00.123Z."""
    moment = moment or datetime.now(UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
