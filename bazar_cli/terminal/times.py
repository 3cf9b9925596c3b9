"""Dates and times as people type them."""

from __future__ import annotations

from datetime import datetime, timezone

from bazar_cli.domain.errors import UsageError


def moment(text: str, option: str) -> datetime:
    """Parse RFC 3339 or a date; without an offset it is UTC.

    Raises: UsageError `input.time_invalid`.
    """
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise UsageError(
            "input.time_invalid",
            f"{option} {text[:40]!r} is not a date or time",
            hint="write it as 2026-01-31 or 2026-01-31T12:00:00Z",
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
