"""Signing in and out: requests, results and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Operator, Scope, public, requires, signed_in
from bazar_cli.domain.entities import Membership, Plan, UserState
from bazar_cli.domain.route import Route
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Identity, IdentitySource, TargetSource


@dataclass(frozen=True)
class Login:
    """The request of `auth login`."""

    email: str
    password: Secret


@dataclass(frozen=True)
class Logout:
    """The request of `auth logout`; `everywhere` ends all sessions of the user at Supabase."""

    everywhere: bool = False


@dataclass(frozen=True)
class ChangePassword:
    """The request of `auth password`."""

    password: Secret


@dataclass(frozen=True)
class WhoAmI:
    """A session, and what Postgres has about its user, which is None for an identity that is not a user here."""

    user_id: UUID
    email: str
    plan: Plan | None
    state: UserState | None
    is_superuser: bool | None
    organizations: tuple[Membership, ...]
    target: TargetSource
    supabase_url: str | None
    """None for a remote target, which has `api_url`."""
    source: IdentitySource
    stored_in: Path | str | None
    expires_at: datetime
    api_url: str | None = None
    claimed: bool = False
    """This sign-in made the user the first superuser."""
    confirmed: bool = True
    """Supabase Auth confirmed the session for this command."""
    note: str | None = None
    """Why the session is not confirmed, or plan and role are unknown."""


@dataclass(frozen=True)
class LoggedOut:
    """The result of `auth logout`; `at_supabase` is None if Supabase Auth did not answer."""

    was_signed_in: bool
    at_supabase: bool | None
    everywhere: bool


@dataclass(frozen=True)
class AccessToken:
    """An access token for a script, and when it ends."""

    token: Secret
    expires_at: datetime


@dataclass(frozen=True)
class RenewSession:
    """The request of a new access token; the refresh token alone proves the session."""

    refresh_token: Secret


@dataclass(frozen=True)
class KnownSession:
    """What a server says about a session: as WhoAmI, without what only a machine with a session store knows."""

    user_id: UUID
    email: str
    plan: Plan | None
    state: UserState | None
    is_superuser: bool | None
    organizations: tuple[Membership, ...]
    expires_at: datetime
    confirmed: bool = True
    note: str | None = None

    @classmethod
    def of(cls, identity: Identity, operator: Operator | None, note: str | None = None) -> KnownSession:
        """Return the session of an identity. Parameters: `note` says why it is not confirmed, None if it is."""
        return cls(
            user_id=identity.user_id,
            email=identity.email,
            plan=operator.plan if operator else None,
            state=operator.state if operator else None,
            is_superuser=operator.is_superuser if operator else None,
            organizations=operator.memberships if operator else (),
            expires_at=identity.expires_at,
            confirmed=note is None,
            note=note,
        )

    def on_this_machine(
        self,
        target: TargetSource,
        source: IdentitySource,
        stored_in: Path | str | None,
        *,
        supabase_url: str | None = None,
        api_url: str | None = None,
    ) -> WhoAmI:
        """Return the session with what this machine knows of it: one of the two URLs, and where its token is from."""
        return WhoAmI(
            user_id=self.user_id,
            email=self.email,
            plan=self.plan,
            state=self.state,
            is_superuser=self.is_superuser,
            organizations=self.organizations,
            target=target,
            supabase_url=supabase_url,
            api_url=api_url,
            source=source,
            stored_in=stored_in,
            expires_at=self.expires_at,
            confirmed=self.confirmed,
            note=self.note,
        )


@dataclass(frozen=True)
class StartedSession:
    """A session that a server hands out: the caller keeps both tokens."""

    session: KnownSession
    access_token: Secret
    refresh_token: Secret


LOGIN = public(
    "auth.login",
    "signing in is how one becomes an operator",
    route=Route("POST", "/auth/login", Login, StartedSession),
)
LOGOUT = public(
    "auth.logout", "it ends the caller's own session", route=Route("POST", "/auth/logout", Logout, LoggedOut)
)
STATUS = public(
    "auth.status",
    "it shows the caller's own session and nothing else",
    route=Route("GET", "/auth/status", None, KnownSession),
)
REFRESH = signed_in("auth.refresh", route=Route("GET", "/auth/refresh", None, KnownSession))
"""The route says whether the operator may renew the session; a client that keeps it uses RENEW."""
RENEW = public(
    "auth.refresh",
    "the refresh token proves the session, whose access token may have expired",
    route=Route("POST", "/auth/refresh", RenewSession, StartedSession),
)
"""The same for a client of the API, which keeps its session itself."""
TOKEN = signed_in("auth.token", route=Route("GET", "/auth/token", None, KnownSession))
"""The route says whether the operator may use the token, which the client has."""
PASSWORD = signed_in("auth.password", writes=True, route=Route("PUT", "/auth/password", ChangePassword, None))
CLAIM = requires("auth.login", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True, bootstrap=True)
"""The part of a sign-in that makes SUPERUSER_EMAIL the first superuser of a system that has none."""
