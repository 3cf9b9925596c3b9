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


def what_stays_valid(revoked: RevokedSessions) -> str:
    """Say until when access tokens of a user are taken whose sessions were ended."""
    if not revoked.tokens_issued:
        return f"{revoked.email} has never signed in; no access token was ever issued to this user"
    if not revoked.ended:
        return f"{revoked.email} had no session; access tokens of earlier ones are valid until they expire"
    until = rfc3339(revoked.tokens_valid_until)
    end = f"until {until}" if until else "for as long as tokens of this project live"
    return f"access tokens of {revoked.email} may be valid {end}"
