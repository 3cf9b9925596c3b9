"""A user's sessions at Supabase Auth: requests, results and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires

LIST = requires("users.sessions.list", Permission.USERS_UPDATE, scope=Scope.ROW, oneself="user")
REVOKE = requires("users.sessions.revoke", Permission.USERS_UPDATE, scope=Scope.ROW, writes=True, oneself="user")


@dataclass(frozen=True)
class OfUser:
    """Whose sessions: a user by id or email."""

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
    """When it ends at the latest; None where nothing limits it."""
    current: bool
    """It is the operator's own, that this command runs in."""


@dataclass(frozen=True)
class RevokedSessions:
    """Whose sessions were ended, and how many they were."""

    user_id: UUID
    email: str
    ended: int
    tokens_issued: bool
    """False: Supabase has never issued an access token to this user."""
    tokens_valid_until: datetime | None
    """When the last issued access token expires; None if no session was ended, or the lifetime of tokens is unknown."""
    own: bool
    """They were the operator's: the session of this command is one of them."""
