"""How sessions of users at Supabase Auth are shown."""

from __future__ import annotations

from bazar_cli.domain.users.sessions import RevokedSessions, UserSession
from bazar_cli.terminal.views.base import View, rfc3339

SESSION = View(
    UserSession,
    paths=("id", "current", "created_at", "refreshed_at", "user_agent", "ip", "aal", "not_after"),
    identifier="id",
)
REVOKED = View(
    RevokedSessions,
    paths=("user_id", "email", "ended", "tokens_valid_until"),
    renamed={"ended": "sessions_ended"},
    identifier="user_id",
)


def still_valid(revoked: RevokedSessions) -> str:
    """Say until when access tokens of ended sessions are valid."""
    if not revoked.tokens_issued:
        return f"{revoked.email} never signed in; no access token was ever issued"
    if not revoked.ended:
        return f"{revoked.email} had no session; access tokens of earlier sessions are valid until they expire"
    until = rfc3339(revoked.tokens_valid_until)
    end = f"until {until}" if until else "until they expire"
    return f"access tokens of {revoked.email} may be valid {end}"
