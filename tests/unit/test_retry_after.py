"""The header by which a server says when it wants to be asked again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest

from bazar_cli.adapters.supabase.answers import retry_after
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.limits import RateLimit


def answer(value: str | None) -> httpx.Response:
    return httpx.Response(429, headers={} if value is None else {"Retry-After": value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[("0", 0), (" 30 ", 30), ("999999999", 999_999_999)],
        *[(None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("٣", None), ("9" * 400, None)],
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2035 00:00:00 +99999999999999", None),
    ],
)
def test_seconds_or_nothing(value: str | None, seconds: int | None) -> None:
    if value is not None and not value.isascii():
        assert retry_after(httpx.Response(429, headers=[(b"Retry-After", value.encode())])) == seconds
    else:
        assert retry_after(answer(value)) == seconds


def test_date_is_so_far_away_and_never_behind() -> None:
    now = datetime.now(timezone.utc)
    found = retry_after(answer(format_datetime(now + timedelta(seconds=90), usegmt=True)))
    assert found is not None
    assert 80 < found <= 90
    assert retry_after(answer(format_datetime(now - timedelta(days=1), usegmt=True))) == 0


@pytest.mark.parametrize(
    ("hint", "limit", "shown", "details"),
    [
        ("run it again", None, "run it again", {"n": 1}),
        (
            "",
            RateLimit(7),
            "Supabase Auth has reached a rate limit: try again in 7 s",
            {"status": 429, "retry_after": 7},
        ),
        (
            "look",
            RateLimit(),
            "look. Supabase Auth has reached a rate limit: wait a minute and try again",
            {"status": 429},
        ),
        ("try again in 7 s", RateLimit(7), "try again in 7 s", {"status": 429, "retry_after": 7}),
    ],
)
def test_an_error_of_a_rate_limit_says_once_when_to_try_again(
    hint: str, limit: RateLimit | None, shown: str, details: dict[str, object]
) -> None:
    error = BackendUnavailable("auth.unavailable", "away", hint=hint, details={"n": 1}, below=["a line"], limit=limit)
    assert (error.code, str(error), error.hint) == ("auth.unavailable", "away\n  a line", shown)
    assert (error.details, error.limit) == ({"n": 1, **details}, limit)
