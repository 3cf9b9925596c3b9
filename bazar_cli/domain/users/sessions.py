"""A user's sessions at Supabase Auth: requests, results and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.route import Answer, Route


@dataclass(frozen=True)
class OfUser:
    """The user whose sessions are meant, by id or email."""

    user: str


@dataclass(frozen=True)
class UserSession:
    """A session as Supabase Auth keeps it."""

    id: UUID
    created_at: datetime | None
    refreshed_at: datetime | None
    """None until its first refresh."""
    user_agent: str | None
    ip: str | None
    aal: str | None
    """The assurance level: `aal1` by one factor, `aal2` by two."""
    not_after: datetime | None
    """The latest end; None without a limit."""
    current: bool
    """Whether it is the operator's session of this command."""


@dataclass(frozen=True)
class RevokedSessions:
    """The user whose sessions were ended, and their number."""

    user_id: UUID
    email: str
    ended: int
    tokens_issued: bool
    """False: Supabase has never issued an access token to this user."""
    tokens_valid_until: datetime | None
    """The expiry of the last issued access token; None if no session was ended, or the lifetime is unknown."""
    own: bool
    """They were the operator's: the session of this command is one of them."""


LIST = requires(
    "users.sessions.list",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    oneself="user",
    route=Route("GET", "/users/{user}/sessions", OfUser, UserSession, Answer.LIST),
)
REVOKE = requires(
    "users.sessions.revoke",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    oneself="user",
    route=Route("DELETE", "/users/{user}/sessions", OfUser, RevokedSessions),
)
