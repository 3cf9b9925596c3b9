"""Sessions of users at Supabase Auth."""

from __future__ import annotations

from bazar_cli.domain.users.sessions import RevokedSessions, UserSession
from bazar_cli.terminal.views.base import View, rfc3339

SESSION: View[UserSession] = View(
    fields={
        "id": lambda s: str(s.id),
        "current": lambda s: s.current,
        "created_at": lambda s: rfc3339(s.created_at),
        "refreshed_at": lambda s: rfc3339(s.refreshed_at),
        "user_agent": lambda s: s.user_agent,
        "ip": lambda s: s.ip,
        "aal": lambda s: s.aal,
        "not_after": lambda s: rfc3339(s.not_after),
    },
    identifier=lambda s: str(s.id),
)
REVOKED: View[RevokedSessions] = View(
    fields={
        "user_id": lambda r: str(r.user_id),
        "email": lambda r: r.email,
        "sessions_ended": lambda r: r.ended,
        "tokens_valid_until": lambda r: rfc3339(r.tokens_valid_until),
    },
    identifier=lambda r: str(r.user_id),
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
