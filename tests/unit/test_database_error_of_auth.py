"""A 500 of Supabase Auth that its own database raised names the triggers that may stand behind it."""

from __future__ import annotations

import httpx
import pytest

from bazar_cli.adapters.supabase.answers import judge, unavailable
from bazar_cli.domain.users.identities import OutcomeUnknown
from tests.support.postgres import target_of


@pytest.mark.parametrize(
    ("status", "message", "named"),
    [
        (500, "Database error granting user", True),
        (500, "Database error updating user", True),
        (500, "Unable to process request", False),
        (503, "Database error", False),
    ],
)
def test_triggers_are_named_at_once(status: int, message: str, *, named: bool) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        judge(httpx.Response(status, json={"code": status, "error_code": "unexpected_failure", "msg": message}))
    hint = unavailable(target_of("postgresql://x@localhost/x"), caught.value).hint or ""
    assert ("tgrelid = 'auth.users'::regclass" in hint) is named
